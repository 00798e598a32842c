"""Calls of tools whose names or arguments stand outside JSON, as families of models write them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.core.strict_json import decoder

_NAME = r"[\w.-]{1,64}"
# A name with the JSON of its arguments behind it.
_BEFORE_JSON = (
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
    # Functionary 3.2, whose first mark is the end of the prompt.
    rf"|(?:\A|>>>)(?P<functionary>{_NAME})\n(?={{)"
    # Mistral since 2025.
    rf"|(?:\[TOOL_CALLS\]\s{{0,3}})?(?<![\w.-])(?P<mistral>{_NAME})(?:\[CALL_ID\]\w{{1,64}})?\[ARGS\]\s{{0,3}}(?={{)"
)
# A name with arguments in elements of their own behind it.
_BEFORE_ELEMENTS = (
    # Qwen3-Coder and Nemotron 3.
    rf"<function=(?P<qwen>{_NAME})>"
    # MiniMax M2, and DeepSeek V3.2 under a prefix.
    rf"|<(?:[\w:]{{0,20}}:|\uff5cDSML\uff5c)?invoke name=\"(?P<invoke>{_NAME})\">"
    # GLM 4.5 to 4.7.
    rf"|<tool_call>\s{{0,3}}(?P<glm>{_NAME})\s{{0,3}}(?:<tool_sep>)?\s{{0,3}}"
    r"(?=<arg_key>|</tool_call>)"
)
_HEAD = lazy_pattern(f"{_BEFORE_JSON}|{_BEFORE_ELEMENTS}")
_ELEMENT_KINDS = frozenset({"qwen", "invoke", "glm"})
# The start of one argument, up to its value, and what ends the value.
_ARGUMENT = lazy_pattern(
    r"\s*(?:<parameter=(?P<plain>[^<>\n]{1,64})>"
    r"|<(?:[\w:]{0,20}:|"
    "\uff5cDSML\uff5c"
    r")?parameter name=\"(?P<quoted>[^\"<>\n]{1,64})\""
    r"(?: string=\"(?P<string>true|false)\")?>"
    r"|<arg_key>(?P<key>[^<>\n]{1,64})</arg_key>\s{0,3}<arg_value>)"
)
_END_OF_QUOTED = lazy_pattern("</(?:[\\w:]{0,20}:|\uff5cDSML\uff5c)?parameter>")
_ENDS = {
    "plain": lazy_pattern("</parameter>"),
    "quoted": _END_OF_QUOTED,
    "string": _END_OF_QUOTED,
    "key": lazy_pattern("</arg_value>"),
}
# What stands behind a call: its end, the next one, or nothing where a server cut the end off.
_BEHIND = lazy_pattern(r"\s*(?:<|\[TOOL_CALLS\]|\Z)")
# What stands in the place of arguments: at most so much, up to the end of the call.
_NO_ARGUMENTS = lazy_pattern(
    r"[^<]{1,2000}</(?:[^<>\n]{0,20}:)?(?:function|invoke|tool_call|\uff5cDSML\uff5cinvoke)>"
)
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
    """A call, and where its mark begins; `arguments` is None where nobody can say what they are."""

    start: int
    name: str
    arguments: Fields | None


class _Read(NamedTuple):
    """Arguments, and where they end."""

    arguments: Fields | None
    end: int


def marked_calls(text: str, tools: Mapping[str, Row]) -> list[Marked]:
    r"""The calls of declared tools in a text, in order. A mark within the arguments of a call is
    part of these, and one between backquotes is a word about marks.

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
    calls = [*islice(_marked(text, tools), _MOST)] or _python(text)
    known = {call.name for call in calls} <= {*tools}
    return calls[:_MOST] if known else []


def _marked(text: str, tools: Mapping[str, Row]) -> Iterator[Marked]:
    """The calls of a text whose names stand in marks."""
    at = 0
    while found := _HEAD.search(text, at):
        at = found.end()
        if _is_quoted(text, found.start()):
            continue
        kind = found.lastgroup or ""
        name = found[kind]
        if kind in _ELEMENT_KINDS:
            properties = _properties(tools.get(name))
            read = _elements(text, at, properties)
        else:
            read = _object(text, at)
        if read is None:
            continue
        at = read.end
        yield Marked(found.start(), name, read.arguments)


def _is_quoted(text: str, start: int) -> bool:
    """Whether a backquote stands before a place, and no fence of code."""
    before = text[max(0, start - 3) : start]
    return before.endswith("`") and before != "```"


def _properties(schema: Any) -> Mapping[str, Any]:
    """What a schema says of arguments by their names."""
    found = schema.get("properties") if isinstance(schema, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _object(text: str, at: int) -> _Read:
    """Arguments that are an object of JSON."""
    try:
        arguments, end = decoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return _Read(None, at)
    return _Read(arguments, end)


def _elements(
    text: str, at: int, properties: Mapping[str, Any]
) -> _Read | None:
    """Arguments that stand in elements one behind the other; None where a mark is no call.

    Arguments of which one has no end, or stands twice, are none.
    """
    arguments: Fields = {}
    while found := _ARGUMENT.match(text, at):
        kind = found.lastgroup or "plain"
        end = _ENDS[kind].search(text, found.end())
        name = (found["plain"] or found["quoted"] or found["key"]).strip()
        if end is None or name in arguments:
            return _Read(None, found.end())
        value = text[found.end() : end.start()]
        schema = properties.get(name, {})
        is_text = found["string"] == "true" or _takes_text(schema)
        arguments[name] = _value(value, is_text=is_text)
        at = end.end()
    if arguments or _BEHIND.match(text, at):
        return _Read(arguments, at)
    other = _NO_ARGUMENTS.match(text, at)
    return _Read(None, other.end()) if other else None


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
    arguments: Fields = {}
    for argument in node.keywords:
        if argument.arg is None:
            raise ValueError("arguments in a dictionary")
        if argument.arg in arguments:
            raise ValueError("an argument twice")
        arguments[argument.arg] = ast.literal_eval(argument.value)
    json.dumps(arguments, allow_nan=False)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Dict):
            _check_keys(inner)
    return Marked(0, ast.unparse(node.func), arguments)


def _check_keys(node: ast.Dict) -> None:
    """Raises ValueError where a key of a dictionary is no text, or stands twice."""
    keys = [ast.literal_eval(key) for key in node.keys if key is not None]
    texts = {key for key in keys if isinstance(key, str)}
    if len(texts) < len(node.keys):
        raise ValueError("keys that JSON does not have")
