"""Logs of agents as rows of messages.

| format | its mark |
|---|---|
| ATIF (Agent Trajectory Interchange Format) | an object with `schema_version` "ATIF-..." |
| messages of OpenAI's | objects with `messages` |
| Claude Code | lines with `sessionId` and a `message` of type `user` or `assistant` |
| Codex | lines with `type: response_item` and a `payload` |
| ShareGPT | objects with `conversations`, of `from` and `value` |
| messages alone | `role` and `content`, or `from` and `value`, in a list or one a line |

Messages alone are one talk a file, a list within the file, or a name in the column `session_id`,
`conversation_id`, `thread_id` or `chat_id` (also `sessionId`, ...).

A message of a row has `role` (system, user, assistant, tool) and `content`, as OpenAI writes them;
an assistant's has `tool_calls` where it calls, a tool's the `tool_call_id` that it answers, and
`reasoning_content` what was thought. A part of a content that is no text, such as an image, stands
as its type in brackets: `[image_url]`. Calls in Anthropic's blocks and OpenAI's old `function_call`
are read as calls. A talk with another role, or with a call of nothing, is passed over.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from synth.core.errors import WrongUse
from synth.core.records import Fields, Values, seed_id
from synth.inputs.files import encoding_of, ending_of, opened
from synth.inputs.names import near
from synth.inputs.values import read_json

MOST_BYTES = 256 * 1024 * 1024
MOST_MESSAGES = 10_000
ENDINGS = (".json", ".jsonl")
ROLES = ("system", "user", "assistant", "tool")
# What others call them.
_ROLES = {
    "agent": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "developer": "system",
    "function": "tool",
    "gpt": "assistant",
    "human": "user",
    "model": "assistant",
    "observation": "tool",
}
# Columns that name the talk of a message which stands alone.
_TALKS = (
    *("session_id", "conversation_id", "thread_id", "chat_id"),
    *("sessionId", "conversationId", "threadId", "chatId"),
)
# Blocks of Anthropic's that are more than a part of a text.
_BLOCKS = frozenset(
    {"tool_use", "tool_result", "thinking", "redacted_thinking"}
)


def log_rows(
    path: Path, passed: dict[str, str] | None = None
) -> Iterator[Fields]:
    """One row a talk: `id`, `messages`, `question` (the first of the user's), `answer` (the last of
    the assistant's), `tools_called`, and `made` with the log's format and name. Equal talks are one
    row.

    Args:
        path: a log, or a folder of logs; a hidden file in it is none.
        passed: gets name -> why for every log that is passed over, `name:line` for lines of one
            that are no JSON, `name talk N` for its talks.

    Raises:
        WrongUse: no such file.
    """
    left_out = passed if passed is not None else {}
    if not path.exists():
        raise WrongUse(
            f"--logs {path}",
            "no such file",
            "a log or a folder of logs",
            near(str(path)),
        )
    files = [path]
    if path.is_dir():
        files = sorted(
            one
            for one in path.rglob("*")
            if ending_of(one.name) in ENDINGS
            and one.name[0] != "."
            and one.is_file()
            and not one.is_symlink()
        )
    places: dict[str, str] = {}
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        try:
            read = _values(_text_of(file))
            talks = list(_talks(read.values))
        except (WrongUse, ValueError, RecursionError, OSError) as error:
            left_out[name] = f"{type(error).__name__}: {error}"[:200]
            continue
        if not talks:
            left_out[name] = read.wrong or "no log of an agent"
            continue
        if read.broken:
            others = f" and {read.broken - 1:,} more" * (read.broken > 1)
            left_out[f"{name}:{read.line}{others}"] = read.wrong
        for place, (form, messages) in enumerate(talks):
            here = f"{name} talk {place + 1}"
            row = _row(name, place, form, messages)
            why = _unfit(messages)
            first = places.setdefault(row["id"], here)
            if first != here:
                why = f"the same as {first}"
            if why:
                left_out[here] = why
                continue
            yield row


def _unfit(messages: list[Fields]) -> str:
    """Why messages are no talk that a student could be shown; "" where they are one."""
    for number, one in enumerate(messages, 1):
        if one["role"] not in ROLES:
            return (
                f"message {number} has the role {one['role']!r}"[:80]
                + f"; wanted {', '.join(ROLES)}"
            )
        for call in one.get("tool_calls", ()):
            if not call["function"]["name"]:
                return f"message {number} calls a function that has no name"
    return ""


def _row(
    name: str,
    place: int,
    form: str,
    messages: list[Fields],
) -> Fields:
    asked: list[str] = []
    said: list[str] = []
    called: dict[str, None] = {}
    for one in messages:
        content = one["content"]
        if one["role"] == "user":
            asked.append(content)
        elif one["role"] == "assistant" and content:
            said.append(content)
        for call in one.get("tool_calls", ()):
            function = call["function"]
            called[function["name"]] = None
    return {
        "id": seed_id({"messages": messages}),
        "messages": messages,
        "question": asked[0] if asked else "",
        "answer": said[-1] if said else "",
        "tools_called": list(called),
        "made": {
            "by": f"logs: {form}",
            "log": name,
            "place": place,
        },
    }


def _talks(values: list[Fields]) -> Iterator[tuple[str, list[Fields]]]:
    """(format, messages) of each talk in a file."""
    for form, reads in _FORMS:
        talks = [talk[:MOST_MESSAGES] for talk in reads(values) if talk]
        if talks:
            for talk in talks:
                yield form, talk
            return


def _text_of(path: Path) -> bytes:
    """A log as UTF-8, whatever it was written and packed in."""
    with opened(str(path)) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    encoding = encoding_of(raw[:4])
    # As it is, so that a line that is no UTF-8 is named.
    if encoding == "utf-8":
        return raw
    if encoding == "utf-8-sig":
        return raw.removeprefix(BOM_UTF8)
    return raw.decode(encoding).encode()


class _Read(NamedTuple):
    """The objects of a file, and what is no JSON in it.

    Attributes:
        values: the objects, in their order.
        broken: lines that are no JSON.
        line: the first of them, counted from 1; 0 where there is none.
        wrong: what is wrong with it.
    """

    values: list[Fields]
    broken: int = 0
    line: int = 0
    wrong: str = ""


def _values(text: bytes) -> _Read:
    """One object, a list of them, or one a line; a line that is none, such as the last one of a log
    that was cut off, is passed over.
    """
    try:
        whole = read_json(text)
    except ValueError:
        return _lines(text)
    listed = whole if isinstance(whole, list) else [whole]
    return _Read(list(_objects(listed)))


def _objects(listed: Iterable[Any]) -> Iterator[Fields]:
    """The objects among values; a list of messages is the object that it is the `messages` of."""
    for value in listed:
        if isinstance(value, dict):
            yield value
        elif any(map(_is_alone, _dicts(value))):
            yield {"messages": value}


def _lines(text: bytes) -> _Read:
    values: list[Fields] = []
    wrong: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = read_json(line)
        except ValueError as error:
            wrong[number] = f"broken JSON ({error})"[:200]
            continue
        values.extend(_objects([value]))
    first = min(wrong, default=0)
    return _Read(values, len(wrong), first, wrong.get(first, ""))


def message(role: Any, content: Any, **more: Any) -> Fields:
    """A message as OpenAI writes it; keys that say nothing are left out.

    >>> message("agent", [{"type": "text", "text": "Hi"}], tool_calls=[])
    {'role': 'assistant', 'content': 'Hi'}
    """
    said = {name: value for name, value in more.items() if value}
    return {"role": _role(role), "content": _text(content), **said}


def _role(role: Any) -> str:
    """OpenAI's word for who speaks; another one stays as it is written, and is none of `ROLES`."""
    if not isinstance(role, str):
        return json.dumps(role)
    word = role.strip().lower()
    return _ROLES.get(word, word)


def _text(content: Any) -> str:
    r"""A content, or the texts in a list of its parts.

    >>> _text([{"type": "text", "text": "See"}, {"type": "image", "source": {}}, {"a": 1}])
    'See\n[image]\n{"a": 1}'
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, map(_text, content)))
    if isinstance(content, dict):
        return _part(content)
    return "" if content is None else json.dumps(content)


def _part(part: Fields) -> str:
    """The text of a part; the type of one that has none."""
    for name in ("text", "content"):
        if name in part:
            return _text(part[name])
    kind = part.get("type")
    if isinstance(kind, str):
        return f"[{kind}]"
    return json.dumps(part, ensure_ascii=False)


def _call(
    call_id: Any,
    name: Any,
    arguments: Any,
) -> Fields:
    """A call of a tool, named "" where nobody can tell; its arguments are JSON text."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    called = name if isinstance(name, str) else ""
    function = {"name": called, "arguments": written}
    return {"id": str(call_id or ""), "type": "function", "function": function}


def _dicts(value: Any) -> list[Fields]:
    """The objects of a list; none where it is no list."""
    if not isinstance(value, list):
        return []
    return [one for one in value if isinstance(one, dict)]


def _fields(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _of_type(blocks: list[Fields], kind: str) -> list[Fields]:
    return [block for block in blocks if block.get("type") == kind]


def _atif(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """Trajectories of the interchange format."""
    for value in values:
        version = str(value.get("schema_version", ""))
        if not version.startswith("ATIF"):
            continue
        talk: list[Fields] = []
        for step in _dicts(value.get("steps")):
            talk.append(_atif_said(step))
            seen = _fields(step.get("observation"))
            for result in _dicts(seen.get("results")):
                call_id = result.get("source_call_id")
                content = result.get("content")
                talk.append(_result(call_id, content))
        yield talk


def _atif_said(step: Values) -> Fields:
    """What is said in a step, and what it calls."""
    calls = []
    for one in _dicts(step.get("tool_calls")):
        call = _call(
            one.get("tool_call_id"),
            one.get("function_name"),
            one.get("arguments"),
        )
        calls.append(call)
    return message(
        step.get("source"),
        step.get("message"),
        tool_calls=calls,
        reasoning_content=step.get("reasoning_content"),
    )


def _result(call_id: Any, content: Any) -> Fields:
    return message(
        "tool",
        content,
        tool_call_id=str(call_id or ""),
    )


def _openai(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """Messages that are as they should be already."""
    for value in values:
        listed = _dicts(value.get("messages"))
        if any("role" in one for one in listed):
            yield list(_all_kept(listed))


def _all_kept(listed: Iterable[Values]) -> Iterator[Fields]:
    for one in listed:
        yield from _kept(one)


def _kept(one: Values) -> Iterator[Fields]:
    """The messages in one: several where its content has blocks of Anthropic's."""
    if "from" in one and "role" not in one:
        yield _shared(one)
        return
    kinds = {str(part.get("type")) for part in _dicts(one.get("content"))}
    if kinds & _BLOCKS:
        yield from _blocks(one.get("role"), one["content"])
        return
    calls = []
    asked = _dicts(one.get("tool_calls"))
    # How OpenAI wrote the one call of a message before it had tools.
    if isinstance(one.get("function_call"), dict):
        asked.append({"function": one["function_call"]})
    for call in asked:
        function = _fields(call.get("function"))
        name = function.get("name")
        arguments = function.get("arguments", "{}")
        calls.append(_call(call.get("id"), name, arguments))
    yield message(
        one.get("role"),
        one.get("content"),
        tool_calls=calls,
        tool_call_id=one.get("tool_call_id"),
        reasoning_content=one.get("reasoning_content"),
        name=one.get("name"),
    )


def _claude_code(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """Sessions of Claude Code, without those of sub-agents."""
    sessions: dict[str, list[Fields]] = {}
    for value in values:
        said = value.get("message")
        if "sessionId" not in value or not isinstance(said, dict):
            continue
        if value.get("isSidechain") or value.get("isMeta"):
            continue
        session = str(value["sessionId"])
        talk = sessions.setdefault(session, [])
        role = said.get("role", value.get("type"))
        talk.extend(_blocks(role, said.get("content")))
    yield from sessions.values()


def _blocks(role: Any, content: Any) -> Iterator[Fields]:
    """The messages in one of Anthropic's: results of tools are messages of their own."""
    blocks = _dicts(content)
    for block in _of_type(blocks, "tool_result"):
        yield _result(block.get("tool_use_id"), block.get("content"))
    texts = content
    if not isinstance(content, str):
        texts = [one for one in blocks if str(one.get("type")) not in _BLOCKS]
    thinking = _of_type(blocks, "thinking")
    thoughts = [_text(block.get("thinking")) for block in thinking]
    calls = []
    for block in _of_type(blocks, "tool_use"):
        call = _call(
            block.get("id"),
            block.get("name"),
            block.get("input"),
        )
        calls.append(call)
    made = message(
        role,
        texts,
        tool_calls=calls,
        reasoning_content=_text(thoughts),
    )
    if made["content"] or len(made) > 2:
        yield made


def _codex(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """A rollout of Codex: one talk a file."""
    talk: list[Fields] = []
    thoughts = ""
    for value in values:
        item = value.get("payload")
        if value.get("type") != "response_item" or not isinstance(item, dict):
            continue
        if item.get("type") == "reasoning":
            thoughts = _text(item.get("summary"))
            continue
        said = _codex_said(item, thoughts)
        if said is None:
            continue
        talk.append(said)
        # A thought belongs to what the model does next.
        if said["role"] == "assistant":
            thoughts = ""
    yield talk


def _codex_said(item: Values, thoughts: str) -> Fields | None:
    """The message of one item; None where it is none."""
    kind = str(item.get("type"))
    if kind == "message":
        role = item.get("role", "assistant")
        own = thoughts if role == "assistant" else ""
        content = item.get("content")
        return message(role, content, reasoning_content=own)
    call_id = item.get("call_id")
    if kind in _CODEX_CALLS:
        given = item.get("arguments", item.get("input", "{}"))
        call = _call(call_id, item.get("name"), given)
        return message(
            "assistant",
            "",
            tool_calls=[call],
            reasoning_content=thoughts,
        )
    if kind in _CODEX_RESULTS:
        return _result(call_id, item.get("output"))
    return None


def _sharegpt(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """Conversations as people shared them, with `system` before them where it stands beside."""
    for value in values:
        listed = _dicts(value.get("conversations")) or _dicts(
            value.get("messages")
        )
        if not any(map(_is_alone, listed)):
            continue
        said = list(_all_kept(listed))
        system = value.get("system")
        if isinstance(system, str) and system:
            said.insert(0, message("system", system))
        yield said


def _shared(one: Values) -> Fields:
    """A message of `from` and `value`; of `function_call` the value is the call, as JSON."""
    if one["from"] != "function_call":
        return message(one["from"], one.get("value"))
    try:
        called = _fields(read_json(str(one.get("value")).encode()))
    except ValueError:
        called = {}
    call = _call("", called.get("name"), called.get("arguments", {}))
    return message("assistant", "", tool_calls=[call])


def _is_alone(value: Values) -> bool:
    """Whether an object is a message by itself."""
    if {"from", "value"} <= value.keys():
        return True
    return "role" in value and bool({"content", "tool_calls"} & value.keys())


def _alone(values: Iterable[Fields]) -> Iterator[list[Fields]]:
    """Messages that stand in a file by themselves, together by the name of their talk; those
    without one are a talk.
    """
    talks: dict[str, list[Fields]] = {}
    for value in filter(_is_alone, values):
        name = next((key for key in _TALKS if key in value), "")
        talk = talks.setdefault(json.dumps(value.get(name)), [])
        talk.extend(_kept(value))
    yield from talks.values()


_CODEX_CALLS = ("function_call", "custom_tool_call")
_CODEX_RESULTS = ("function_call_output", "custom_tool_call_output")
_Reads = Callable[[Iterable[Fields]], Iterator[list[Fields]]]
_FORMS: tuple[tuple[str, _Reads], ...] = (
    ("atif", _atif),
    ("openai", _openai),
    ("claude_code", _claude_code),
    ("codex", _codex),
    ("sharegpt", _sharegpt),
    ("messages", _alone),
)
