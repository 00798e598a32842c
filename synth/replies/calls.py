"""Calls of tools in the text of a reply, as models write them that have no field for them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from synth.core.patterns import lazy_pattern
from synth.core.records import Call, Fields, Row
from synth.core.strict_json import MOST_CHARS, decoder
from synth.replies.marked_calls import Marked, marked_calls
from synth.replies.thoughts import NAMED_IN_PROSE

# What stands before the calls of Qwen and Hermes, of Granite and Phi, of Mistral, and of Llama.
_TAG = lazy_pattern(
    r"<tool_call>|<\|tool_call\|>|<function_call>|functools(?=\[)"
    r"|\[TOOL_CALLS\]|<\|python_tag\|>"
)
# What stands around calls, and is no word of the reply.
_AROUND = lazy_pattern(
    r"(?:```[a-z_]*|<(?:[\w:]{0,20}:|\uff5cDSML\uff5c)?(?:tool|function)_calls?>"
    r"|<\|tool_calls_section_begin\|>|<\uff5ctool\u2581calls\u2581begin\uff5c>)\s*\Z"
)
# A reply that is JSON from its start to its end, in a fence or not. Servers that cut special tokens
# off may leave the last ones.
_BARE = lazy_pattern(
    r"\s*(?:```[a-z_]*\s*)?(?P<json>[{\[].*[}\]])\s*"
    r"(?:(?:```|</tool_call>|<\|[a-z_]{1,20}\|>)\s*)*",
    re.DOTALL,
)
# What stands behind a tag whose calls are JSON.
_OBJECTS = lazy_pattern(r"\s*(?:\[\s*)?{\s*[\"}]")
# Before whom each part of a reply is for, in Functionary 3.2; its prompt ends with the first one.
_TO = ">>>"
_TO_USER = "all\n"
# A call of no tool.
_NONE = Call("?", "")
# Places of a text at which JSON is looked for.
_TRIES = 256
# What the arguments of a call are called: by OpenAI, Qwen and Hermes, and by Llama.
_ARGUMENTS = ("arguments", "parameters")


def calls_in(text: str) -> list[tuple[str, Fields]]:
    """(name, arguments) of each call in a text, in order: JSON objects with a `name` and
    `arguments` (or `parameters`), alone, in lists, or between tags such as `<tool_call>`.

    >>> calls_in('So: <tool_call>{"name": "find", "arguments": {"title": "Emma"}}</tool_call>')
    [('find', {'title': 'Emma'})]
    >>> calls_in('[{"name": "now", "parameters": {}}]'), calls_in("None is needed.")
    ([('now', {})], [])
    """
    return [call for value in _objects(text) for call in _calls_of(value)]


def _objects(text: str) -> Iterator[Any]:
    """The JSON objects in a text, in order."""
    text = text[:MOST_CHARS]
    reader = decoder()
    at = text.find("{")
    tries = 0
    while at >= 0 and tries < _TRIES:
        tries += 1
        end = at + 1
        try:
            value, end = reader.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            # No JSON, or a key twice, of which nobody knows what it means.
            pass
        at = text.find("{", end)


def written_out(
    text: str, tools: Mapping[str, Row]
) -> tuple[str, tuple[Call, ...]]:
    """What a reply says, and the calls that it writes as text, as models do where their server
    does not read them: behind `<tool_call>` (Qwen, Hermes), `<|tool_call|>` (Granite, Phi),
    `[TOOL_CALLS]` (Mistral) or `<|python_tag|>` (Llama), as JSON alone, or in the marks of
    `marked_calls`.

    A tag without a call that can be read is a call of no tool, which is answered as a mistake,
    unless it is a word of a sentence. So is a mark of `marked_calls` whose arguments cannot be
    read.

    Args:
        text: the reply.
        tools: the declared tools: name -> JSON Schema of the arguments. JSON alone is calls where
            each object names one.

    >>> written_out(
    ...     'Well. <tool_call>{"name": "now", "arguments": {}}</tool_call>', {"now": {}}
    ... )
    ('Well.', (Call(name='now', arguments='{}'),))
    >>> written_out('{{"name": "now", "arguments": null}}', {"now": {}})
    ('', (Call(name='now', arguments='{}'),))
    """
    bare = _BARE.fullmatch(text)
    found = _bare_calls(bare["json"], tools) if bare else ()
    if found:
        return "", found
    tag = _first_tag(text)
    marked = marked_calls(text[:MOST_CHARS], tools)
    if tag and (not marked or _is_of_json(text, tag, marked[0].start)):
        # A mark behind the tag stands in the arguments of its calls.
        found = _tagged_calls(text[tag.end() :], tools)
        return _said(text, tag.start()), found or (_NONE,)
    if marked:
        said = _said(text, marked[0].start)
        if text.startswith(_TO, marked[0].start):
            said = said.removeprefix(_TO).removeprefix(_TO_USER)
        return said, tuple(map(_of_mark, marked))
    return text, ()


def _is_of_json(text: str, tag: re.Match[str], start: int) -> bool:
    """Whether a tag stands before a place, and has objects of JSON behind it."""
    return tag.start() < start and bool(_OBJECTS.match(text, tag.end()))


def _of_mark(call: Marked) -> Call:
    """A call in a mark; that of no tool where its arguments cannot be read."""
    if call.arguments is None:
        return _NONE
    return Call(call.name, json.dumps(call.arguments))


def _first_tag(text: str) -> re.Match[str] | None:
    """The first tag of calls that no sentence is about."""
    tags = _TAG.finditer(text)
    return next(
        (tag for tag in tags if not NAMED_IN_PROSE.match(text, tag.end())),
        None,
    )


def _said(text: str, end: int) -> str:
    """What stands before the calls."""
    said = text[:end].strip()
    while around := _AROUND.search(said[-64:]):
        said = said[: len(said) - len(around[0])].strip()
    return said


def _bare_calls(text: str, tools: Collection[str]) -> tuple[Call, ...]:
    """The calls of a text of which each JSON object calls one of the tools; else none."""
    objects = [_calls_of(value) for value in _objects(text)]
    calls = [call for of_one in objects for call in of_one]
    if not all(objects) or not {name for name, _ in calls} <= {*tools}:
        return ()
    return _spelled(calls)


def _tagged_calls(text: str, tools: Collection[str]) -> tuple[Call, ...]:
    """The calls behind a tag; an object that names a tool and is no call is one of no tool."""
    found: list[Call] = []
    for value in _objects(text):
        calls = _spelled(_calls_of(value))
        found += calls
        name = value.get("name") if isinstance(value, dict) else None
        if not calls and isinstance(name, str) and name in tools:
            found.append(_NONE)
    return tuple(found)


def _spelled(calls: Sequence[tuple[str, Fields]]) -> tuple[Call, ...]:
    return tuple(Call(name, json.dumps(arguments)) for name, arguments in calls)


def carried_out(turns: Sequence[Row]) -> list[Fields]:
    """The calls of a conversation's turns, in order, as `name`, `arguments` and `answer`, what the
    tool said.

    Args:
        turns: with `role` and `content`; `tool_calls` as a list or as its JSON. Each call is
            answered by a turn of the role tool, in the same order.

    >>> call = {"function": {"name": "add", "arguments": '{"one": 1, "two": 2}'}}
    >>> turns = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    >>> carried_out([*turns, {"role": "tool", "content": "3"}])
    [{'name': 'add', 'arguments': {'one': 1, 'two': 2}, 'answer': '3'}]
    """
    called = []
    answers = []
    for turn in turns:
        calls = turn.get("tool_calls") or "[]"
        if not isinstance(calls, str):
            calls = json.dumps(calls)
        called += calls_in(calls)
        if turn["role"] == "tool":
            answers.append(turn["content"])
    carried = []
    for (name, arguments), answer in zip(called, answers, strict=False):
        carried.append(
            {
                "name": name,
                "arguments": arguments,
                "answer": answer,
            }
        )
    return carried


def _calls_of(value: Any) -> list[tuple[str, Fields]]:
    """The calls that an object is: OpenAI puts each into `function`, xLAM all into `tool_calls`."""
    listed = value.get("tool_calls") if isinstance(value, dict) else None
    if isinstance(listed, list) and not value.get("content"):
        return [call for one in listed for call in _call_of(one)]
    return _call_of(value)


def _call_of(value: Any) -> list[tuple[str, Fields]]:
    """The one call that an object is, if it is one."""
    call = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return []
    for key in _ARGUMENTS:
        arguments = call.get(key)
        if key in call and arguments is None:
            # What a model writes that has nothing to say to a tool.
            arguments = {}
        if isinstance(arguments, str):
            arguments = _read(arguments)
        if isinstance(arguments, dict):
            return [(call["name"], arguments)]
    return []


def _read(text: str) -> Any:
    """The value of arguments that are text within the JSON; None where they are none."""
    try:
        return decoder().decode(text)
    except (ValueError, RecursionError):
        return None
