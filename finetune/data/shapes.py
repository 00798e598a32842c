"""Training rows as people have them -> the few shapes that the trainers read; what cannot be read
is refused with row and column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from finetune.core.rows import JsonObject
from finetune.data.each_row import each_row
from synth.core.errors import WrongUse
from synth.core.records import Row

# A text, or a list of messages.
Side = TypeVar("Side", str, list[JsonObject])
# Names of who speaks, as other data sets spell them.
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_RIGHT = (
    "true",
    "yes",
    "1",
    "right",
    "correct",
    "good",
    "desirable",
    "chosen",
    "accepted",
    "thumbs_up",
)
_WRONG = (
    "false",
    "no",
    "0",
    "wrong",
    "incorrect",
    "bad",
    "undesirable",
    "rejected",
    "thumbs_down",
)
# What a row may have a student say.
_SAID = ("completion", "chosen", "rejected", "text", "messages")
SFT = (("prompt", "completion"), ("messages",), ("conversations",), ("text",))


def sft(rows: Iterable[JsonObject], source: str) -> list[JsonObject]:
    """Rows of `prompt` and `completion` (texts or messages), of `messages` or of `text`, with
    `tools` where there are any.
    """
    return each_row(
        rows, lambda number, row: _sft(row, f"--input {source} row {number}")
    )


def nothing_said(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """(number of the row from 1 on, its column) where a row that `sft`, `labelled` or `preferences`
    shaped has a student say nothing: no text, or white space alone.

    >>> nothing_said([{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": " "}])
    [(2, 'completion')]
    """
    return [
        (number, name)
        for number, row in enumerate(rows, 1)
        for name in _SAID
        if name in row and not _says(row[name])
    ]


def _says(side: str | Sequence[Row]) -> bool:
    """Whether a text has a sign, or the last message a text or a call."""
    if isinstance(side, str):
        return bool(side.strip())
    last = side[-1]
    said = str(last.get("content") or "").strip()
    return bool(said or last.get("tool_calls"))


def _sft(row: JsonObject, where: str) -> JsonObject:
    tools = _tools(row, where)
    if "completion" in row:
        return {**_pair(row, "completion", where), **tools}
    name = next(
        (name for name in ("messages", "conversations") if name in row), None
    )
    if name is None:
        return {"text": _text(row, "text", where)}
    return {"messages": messages(row, name, where), **tools}


def labelled(rows: Iterable[JsonObject], source: str) -> list[JsonObject]:
    """Rows of `prompt`, `completion` and `label`, true or false."""
    return each_row(
        rows,
        lambda number, row: _labelled(row, f"--input {source} row {number}"),
    )


def _labelled(row: JsonObject, where: str) -> JsonObject:
    label = read_label(row.get("label"), f"{where} label")
    return {
        **_pair(row, "completion", where),
        **_tools(row, where),
        "label": label,
    }


def preferences(
    rows: Iterable[JsonObject], source: str, also: Sequence[str] = ()
) -> tuple[list[JsonObject], int]:
    """Rows of `prompt`, `chosen` and `rejected`, and how many were left out as both sides are the
    same.

    A prompt that stands in both sides, with or without a column of its own, stands once in the rows
    that come out.
    """

    def read(number: int, row: JsonObject) -> JsonObject | None:
        where = f"--input {source} row {number}"
        made = _preference(row, where)
        if made is None:
            return None
        more = {name: row[name] for name in also if name in row}
        return {**made, **_tools(row, where), **more}

    listed = each_row(rows, read)
    pairs = [pair for pair in listed if pair is not None]
    same = len(listed) - len(pairs)
    if not pairs:
        todo = "Give pairs of which one is better."
        raise WrongUse(
            f"--input {source}",
            f"{same:,} pairs of twice the same",
            "a pair that differs",
            todo,
        )
    return pairs, same


def _preference(row: JsonObject, where: str) -> JsonObject | None:
    chosen, rejected = (
        text_or_messages(row, name, where) for name in ("chosen", "rejected")
    )
    prompt = row.get("prompt")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if chosen == rejected:
            return None
        return _of_texts(prompt, chosen, rejected, row, where)
    chosen, rejected = _said(chosen), _said(rejected)
    if chosen == rejected:
        return None
    shared = _shared(chosen, rejected)
    before = (
        []
        if prompt is None
        else _said(text_or_messages(row, "prompt", where), "user")
    )
    # A prompt that both sides repeat, perhaps behind a system message, is not said twice.
    repeated = _bare(before) == _bare(shared[len(shared) - len(before) :])
    context = shared if repeated else [*before, *shared]
    sides = [side[len(shared) :] for side in (chosen, rejected)]
    if not context or not all(sides):
        raise WrongUse(
            f"{where} prompt",
            "no prompt, or nothing behind it",
            "both",
            "Write the prompt into a column.",
        )
    return {"prompt": context, "chosen": sides[0], "rejected": sides[1]}


def _of_texts(
    prompt: object, chosen: str, rejected: str, row: JsonObject, where: str
) -> JsonObject:
    if prompt is not None:
        side = text_or_messages(row, "prompt", where)
        if isinstance(side, str):
            return {"prompt": side, "chosen": chosen, "rejected": rejected}
        return {
            "prompt": side,
            "chosen": _said(chosen),
            "rejected": _said(rejected),
        }
    length = len(_shared(chosen, rejected))
    # The border is the last white space that both have: half a word is no prompt.
    while length and not chosen[length - 1].isspace():
        length -= 1
    if not length:
        raise WrongUse(
            f"{where} prompt",
            "no such column, and no common beginning",
            "a prompt",
            "Write one.",
        )
    return {
        "prompt": chosen[:length],
        "chosen": chosen[length:],
        "rejected": rejected[length:],
    }


def _shared(one: Side, two: Side) -> Side:
    """The beginning that both have; a side that is a beginning of the other keeps its last
    element.
    """
    most = min(len(one), len(two)) - 1
    length = next(
        (
            position
            for position in range(most)
            if one[position] != two[position]
        ),
        max(0, most),
    )
    return one[:length]


def _bare(turns: Sequence[Row]) -> list[tuple[str, str]]:
    return [
        (message["role"], str(message.get("content") or "").strip())
        for message in turns
    ]


def _pair(row: JsonObject, side: str, where: str) -> JsonObject:
    """Prompt and completion, both texts or both messages."""
    prompt = text_or_messages(row, "prompt", where)
    answer = text_or_messages(row, side, where)
    if isinstance(prompt, str) and isinstance(answer, str):
        return {"prompt": prompt, side: answer}
    return {"prompt": _said(prompt, "user"), side: _said(answer)}


def _said(
    value: str | list[JsonObject], role: str = "assistant"
) -> list[JsonObject]:
    if isinstance(value, str):
        return [{"role": role, "content": value.strip()}]
    return value


def check_asked(row: Row, where: str) -> None:
    """Raises WrongUse where a row has neither `prompt` nor `question`, or one that asks nothing: a
    list without messages, a mapping, true or false.
    """
    name = "question" if row.get("prompt") is None else "prompt"
    asked = row.get(name)
    if asked is None:
        raise WrongUse(
            where,
            "neither prompt nor question",
            "one of them",
            "Fill it in, or take the row out.",
        )
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        text_or_messages(dict(row), name, where)


def text_or_messages(
    row: JsonObject, name: str, where: str
) -> str | list[JsonObject]:
    """A text, or a list of messages.

    Raises:
        WrongUse: it is neither.
    """
    if isinstance(row.get(name), list):
        return messages(row, name, where)
    return _text(row, name, where)


def _text(row: JsonObject, name: str, where: str) -> str:
    text = row.get(name)
    if not isinstance(text, str):
        todo = "Write it as text, or take the row out."
        raise WrongUse(
            f"{where} {name}",
            _shown(text),
            "a text, or a list of messages",
            todo,
        )
    return text


def _shown(value: object) -> str:
    return "nothing (null)" if value is None else repr(value)[:80]


def messages(row: JsonObject, name: str, where: str) -> list[JsonObject]:
    """A list of messages, each with `role` and `content`; nulls that the columns of other rows left
    in them are gone.

    Raises:
        WrongUse: an empty list, a message without a role or without a text, unless it calls tools.
    """
    given = _parsed(row[name])
    turns = []
    if not isinstance(given, list) or not given:
        raise WrongUse(
            f"{where} {name}",
            _shown(given),
            "a list of messages",
            "Take the row out.",
        )
    for position, message in enumerate(given, 1):
        there = f"{where} {name} {position}"
        if not isinstance(message, Mapping):
            raise WrongUse(
                there,
                _shown(message),
                "{role, content}",
                "Write messages as mappings.",
            )
        turns.append(_message(cleaned(message), there))
    return turns


def _message(message: JsonObject, where: str) -> JsonObject:
    role = (
        message.pop("from", None) if "role" not in message else message["role"]
    )
    content = (
        message.pop("value", None)
        if "content" not in message
        else message["content"]
    )
    role = _ROLES.get(str(role), role)
    if not isinstance(role, str):
        raise WrongUse(
            where,
            f"role = {_shown(role)}",
            "user, assistant, system or tool",
            "Name who speaks.",
        )
    if content is None and message.get("tool_calls"):
        content = ""
    if isinstance(content, list) and all(
        isinstance(p, Mapping) and p.get("type") == "text" for p in content
    ):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise WrongUse(
            where,
            f"content = {_shown(content)}",
            "a text",
            "Write it as text, or take the row out.",
        )
    return {**message, "role": role, "content": content}


def cleaned(value: Any) -> Any:
    """A value without the nulls in its mappings: a file's columns give each of them the keys of all
    rows.
    """
    if isinstance(value, Mapping):
        return {
            name: cleaned(part)
            for name, part in value.items()
            if part is not None
        }
    if isinstance(value, list):
        return [cleaned(part) for part in value]
    return value


def _tools(row: JsonObject, where: str) -> JsonObject:
    """{"tools": JSON text}, so that no column mixes the tools of two rows; {} where there are
    none.
    """
    given = row.get("tools")
    if given is None or given in ("", "[]", []):
        return {}
    schemas = tools_of(row)
    if not isinstance(schemas, list) or not all(
        isinstance(tool, Mapping) for tool in schemas
    ):
        raise WrongUse(
            f"{where} tools",
            _shown(given),
            "a list of JSON Schemas",
            "Write it as a list, or as its JSON.",
        )
    return {"tools": json.dumps(cleaned(schemas), ensure_ascii=False)}


def tools_of(row: Row) -> Any:
    """The tools of a row, from a list or its JSON; None where there are none."""
    return _parsed(row.get("tools"))


def _parsed(given: Any) -> Any:
    """A value, or what its JSON holds: files of plain cells have lists as text."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given


def read_label(value: object, where: str) -> bool:
    """Whether a row is right, also in words.

    Raises:
        WrongUse: a value that says neither.
    """
    if isinstance(value, bool):
        return value
    text = str(value).strip().casefold().removesuffix(".0")
    if text in _RIGHT or text in _WRONG:
        return text in _RIGHT
    todo = "Write true or false."
    raise WrongUse(
        where,
        _shown(value),
        f"one of {', '.join((*_RIGHT[:4], *_WRONG[:4]))}",
        todo,
    )
