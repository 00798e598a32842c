"""Calls of tools whose names or arguments stand outside JSON, as families of models write them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.core.strict_json import decoder

_NAME = r"[\w.-]{1,64}"
# A name with the JSON of its arguments behind it.
_BEFORE_JSON = lazy_pattern(
    # DeepSeek V3 and V3.1.
    "<\uff5ctool\u2581call\u2581begin\uff5c>"
    "(?:function<\uff5ctool\u2581sep\uff5c>)?"
    rf"\s{{0,3}}(?P<deepseek>{_NAME})\s{{0,3}}"
    "(?:<\uff5ctool\u2581sep\uff5c>)?\\s{0,3}(?:```json)?\\s{0,3}(?={)"
    # Kimi K2.
    rf"|<\|tool_call_begin\|>\s{{0,3}}(?:functions\.)?(?P<kimi>{_NAME}?)(?::\d{{1,6}})?\s{{0,3}}"
    r"<\|tool_call_argument_begin\|>\s{0,3}(?={)"
    # Llama 3.1 and Functionary.
    rf"|<function=(?P<llama>{_NAME})>\s{{0,3}}(?={{)"
    # Mistral since 2025.
    rf"|(?:\[TOOL_CALLS\]\s{{0,3}})?(?<![\w.-])(?P<mistral>{_NAME})(?:\[CALL_ID\]\w{{1,64}})?\[ARGS\]\s{{0,3}}(?={{)"
)
# A name with arguments in elements of their own behind it.
_BEFORE_ELEMENTS = lazy_pattern(
    # Qwen3-Coder and Nemotron 3.
    rf"<function=(?P<qwen>{_NAME})>"
    # MiniMax M2, and DeepSeek V3.2 under a prefix.
    rf"|<(?:[\w:]{{0,20}}:|\uff5cDSML\uff5c)?invoke name=\"(?P<invoke>{_NAME})\">"
    # GLM 4.5 to 4.7.
    rf"|<tool_call>\s{{0,3}}(?P<glm>{_NAME})\s{{0,3}}(?:<tool_sep>)?\s{{0,3}}"
    r"(?=<arg_key>|</tool_call>)"
)
# The start of one argument, up to its value, and what ends the value.
_ARGUMENT = lazy_pattern(
    r"<parameter=(?P<plain>[^<>\n]{1,64})>"
    r"|<(?:[\w:]{0,20}:|"
    "\uff5cDSML\uff5c"
    r")?parameter name=\"(?P<quoted>[^\"<>\n]{1,64})\""
    r"(?: string=\"(?P<string>true|false)\")?>"
    r"|<arg_key>(?P<key>[^<>\n]{1,64})</arg_key>\s{0,3}<arg_value>"
)
_ENDS = {
    "plain": "</parameter>",
    "quoted": "parameter>",
    "string": "parameter>",
    "key": "</arg_value>",
}
# What stands around Python: Llama 3.2 and 4, LFM2, Gemma 3.
_PYTHON_BEGINS = ("<|python_tag|>", "<|python_start|>", "<|tool_call_start|>")
_PYTHON_ENDS = (
    "<|python_end|>",
    "<|tool_call_end|>",
    "<|eom_id|>",
    "<|eot_id|>",
)
_FENCE = lazy_pattern(
    r"```(?:tool_code|python|py)?\s(?P<code>.*)```", re.DOTALL
)
_PYTHON_CALL = lazy_pattern(rf"\[?\s{{0,3}}{_NAME}\(")
# No call is longer, and no reply calls more.
_MOST_CODE = 20_000
_MOST = 128


class Marked(NamedTuple):
    """A call, and where its mark begins."""

    start: int
    name: str
    arguments: Fields


def marked_calls(text: str, tools: Mapping[str, Row]) -> list[Marked]:
    r"""The calls of declared tools in a text, in order.

    Args:
        text: a reply.
        tools: name -> JSON Schema of the tool's arguments, which says what is a number in a text
            that does not.

    >>> text = "<function=add>\n<parameter=one>\n1\n</parameter>\n</function>"
    >>> marked_calls(text, {"add": {"properties": {"one": {"type": "integer"}}}})
    [Marked(start=0, name='add', arguments={'one': 1})]
    >>> marked_calls("[add(one=1)]", {"add": {}})
    [Marked(start=0, name='add', arguments={'one': 1})]
    """
    calls = [*_with_json(text), *_with_elements(text, tools)] or _python(text)
    if not {call.name for call in calls} <= {*tools}:
        return []
    return sorted(calls, key=lambda call: call.start)[:_MOST]


def _with_json(text: str) -> Iterator[Marked]:
    """Calls whose arguments are an object of JSON behind the name."""
    reader = decoder()
    for found in _BEFORE_JSON.finditer(text):
        try:
            arguments, _ = reader.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        name = found[found.lastgroup or 0]
        yield Marked(found.start(), name, arguments)


def _with_elements(text: str, tools: Mapping[str, Row]) -> Iterator[Marked]:
    """Calls whose arguments stand in elements, of which each call has those up to the next one."""
    opened = list(_BEFORE_ELEMENTS.finditer(text))
    ends = [*(found.start() for found in opened[1:]), len(text)]
    for found, end in zip(opened, ends, strict=False):
        name = found[found.lastgroup or 0]
        if text.startswith("{", found.end()):
            continue  # as Llama writes it
        properties = tools.get(name, {}).get("properties", {})
        arguments = _elements(text[found.end() : end], properties)
        yield Marked(found.start(), name, arguments)


def _elements(text: str, properties: Row) -> Fields:
    """The arguments in a text by name; one without an end is left out, as are those behind it."""
    arguments: Fields = {}
    at = 0
    while found := _ARGUMENT.search(text, at):
        kind = found.lastgroup or "plain"
        end = text.find(_ENDS[kind], found.end())
        if end < 0:
            break
        value = text[found.end() : end]
        if kind in ("quoted", "string"):
            # What the mark of the end begins with may have a prefix.
            value = value[: value.rfind("</")] if "</" in value else value
        name = (found["plain"] or found["quoted"] or found["key"]).strip()
        schema = properties.get(name, {})
        is_text = found["string"] == "true" or _takes_text(schema)
        arguments[name] = _value(value, is_text=is_text)
        at = end
    return arguments


def _takes_text(schema: Any) -> bool:
    kinds = schema.get("type") if isinstance(schema, Mapping) else None
    return kinds == "string" or (isinstance(kinds, list) and "string" in kinds)


def _value(text: str, *, is_text: bool) -> Any:
    """The value that stands in an element: JSON, unless it is to be a text or is none."""
    text = text.removeprefix("\n").removesuffix("\n")
    if is_text:
        return text
    spelled = text.strip()
    spelled = {"True": "true", "False": "false", "None": "null"}.get(
        spelled, spelled
    )
    try:
        return decoder().decode(spelled)
    except (ValueError, RecursionError):
        return text


def _python(text: str) -> list[Marked]:
    """The calls of a reply that is Python from its start to its end: calls with named arguments
    that are literals, alone or in a list.
    """
    if len(text) > _MOST_CODE:
        return []
    code = text.strip()
    for mark in _PYTHON_BEGINS:
        code = code.removeprefix(mark)
    for mark in _PYTHON_ENDS:
        code = code.removesuffix(mark)
    fenced = _FENCE.fullmatch(code)
    code = (fenced["code"] if fenced else code).strip()
    if not _PYTHON_CALL.match(code):
        return []
    try:
        tree = ast.parse(code, mode="eval").body
        listed = tree.elts if isinstance(tree, ast.List) else [tree]
        return [_python_call(node) for node in listed]
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.expr) -> Marked:
    """One call.

    Raises:
        TypeError, ValueError: it is none, or has an argument without a name or that is no value
            of JSON.
    """
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call with named arguments")
    arguments = {}
    for argument in node.keywords:
        if argument.arg is None:
            raise ValueError("arguments in a dictionary")
        arguments[argument.arg] = ast.literal_eval(argument.value)
    json.dumps(arguments, allow_nan=False)
    return Marked(0, ast.unparse(node.func), arguments)
