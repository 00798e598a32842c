"""Joins a stream of server-sent events into the one reply that it spells out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from synth.core.errors import TeacherBusy
from synth.core.records import Fields, Values

_LINE_END = re.compile(rb"\r\n|\n|\r")
# How a body begins that is a stream, whatever its content type says.
_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")
# Parts of a message that come in pieces of text.
_TEXTS = ("content", "reasoning_content", "reasoning", "thinking", "refusal")


def is_stream(headers: Mapping[str, str], raw: bytes) -> bool:
    """Whether a reply is a stream of events."""
    if raw[:1] == b"{":
        return False
    if headers.get("content-type", "").lower().startswith("text/event-stream"):
        return True
    return raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_BEGINS)


def events(raw: bytes) -> Iterator[bytes]:
    r"""The data of each event: comments are passed over, several data lines are one text.

    An event that the stream's end cuts off counts, as it may be whole but for its blank line.

    >>> list(events(b': ping\r\n\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: [DONE]'))
    [b'{"a":\n1}', b'[DONE]']
    """
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            if data:
                yield b"\n".join(data)
            data = []
            continue
        name, _, value = line.partition(b":")
        if name.strip() == b"data":
            data.append(value.removeprefix(b" "))
    if data:
        yield b"\n".join(data)


def joined(raw: bytes) -> Fields:
    """The chat reply that a stream spells out; an error inside it stands as `error`.

    Raises:
        TeacherBusy: `broken_reply`, where the stream ends before the reply does.
    """
    whole = _Whole()
    for data in events(raw):
        if data.strip() == b"[DONE]":
            whole.done = True
            continue
        for part in _parts(data):
            whole.add(part)
    return whole.reply()


def _parts(data: bytes) -> list[Fields]:
    """The chunks of one event. Some servers put a blank line between events of one line each only
    now and then.
    """
    try:
        return [_object(orjson.loads(data))]
    except ValueError:
        pass
    try:
        return [
            _object(orjson.loads(line))
            for line in data.split(b"\n")
            if line.strip() not in (b"", b"[DONE]")
        ]
    except ValueError as error:
        raise TeacherBusy(
            "broken_reply", f"no JSON in the stream: {data[:80]!r}"
        ) from error


def _object(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise TeacherBusy(
            "broken_reply",
            f"a JSON {type(value).__name__} in the stream where an object was due",
        )
    return value


class _Whole:
    """A reply as it grows."""

    def __init__(self) -> None:
        self.done = False
        self._head: Fields = {}
        self._choices: dict[int, Fields] = {}
        self._usage: Any = None
        self._error: Any = None

    def add(self, chunk: Fields) -> None:
        """Merges a chunk: deltas grow the message of their choice, the last usage counts."""
        for name in ("id", "model", "created", "system_fingerprint"):
            if chunk.get(name) and name not in self._head:
                self._head[name] = chunk[name]
        self._error = self._error or chunk.get("error")
        self._usage = _usage_in(chunk) or self._usage
        if chunk.get("object") == "error":
            self._error = self._error or chunk
        choices = chunk.get("choices")
        for position, piece in enumerate(
            choices if isinstance(choices, list) else []
        ):
            if isinstance(piece, dict):
                index = piece.get("index")
                self._choice(
                    index if isinstance(index, int) else position, piece
                )

    def _choice(self, index: int, piece: Fields) -> None:
        choice = self._choices.setdefault(
            index,
            {
                "index": index,
                "message": {"role": "assistant"},
                "finish_reason": None,
            },
        )
        message = choice["message"]
        if isinstance(piece.get("message"), dict) and not isinstance(
            piece.get("delta"), dict
        ):
            # A server that sends the whole message, at the end or at once.
            choice["message"] = piece["message"]
        delta = piece.get("delta")
        if isinstance(delta, dict):
            _grow(message, delta)
        if isinstance(piece.get("text"), str):
            _grow(message, {"content": piece["text"]})
        if piece.get("finish_reason"):
            choice["finish_reason"] = piece["finish_reason"]
        if piece.get("error"):
            choice["error"] = piece["error"]
        tokens = piece.get("logprobs")
        if isinstance(tokens, dict) and isinstance(tokens.get("content"), list):
            choice.setdefault("logprobs", {"content": []})["content"] += tokens[
                "content"
            ]

    def reply(self) -> Fields:
        """The reply as one `chat.completion` object."""
        ended = [
            choice
            for choice in self._choices.values()
            if choice["finish_reason"]
        ]
        if (
            not self._error
            and not self.done
            and len(ended) < max(1, len(self._choices))
        ):
            raise TeacherBusy(
                "broken_reply", "the stream ended before the reply did"
            )
        for choice in self._choices.values():
            calls = choice["message"].get("tool_calls")
            if isinstance(calls, dict):
                choice["message"]["tool_calls"] = [
                    calls[index] for index in sorted(calls)
                ]
            choice["message"].setdefault("content", None)
        choices = [self._choices[index] for index in sorted(self._choices)]
        whole: Fields = {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
        }
        if self._usage:
            whole["usage"] = self._usage
        if self._error:
            whole["error"] = self._error
        return whole


def _usage_in(chunk: Values) -> Any:
    """Tokens so far: at the top, in a choice (Moonshot), or in an extension (Groq)."""
    if chunk.get("usage"):
        return chunk["usage"]
    extension = chunk.get("x_groq")
    if isinstance(extension, dict) and extension.get("usage"):
        return extension["usage"]
    choices = chunk.get("choices")
    listed = choices if isinstance(choices, list) else []
    return next(
        (c["usage"] for c in listed if isinstance(c, dict) and c.get("usage")),
        None,
    )


def _grow(message: Fields, delta: Values) -> None:
    """Adds the pieces of a delta to a message."""
    for name in _TEXTS:
        piece = delta.get(name)
        if piece is None or piece == "":
            continue
        message[name] = _longer(message.get(name), piece)
    details = delta.get("reasoning_details")
    if isinstance(details, list):
        message.setdefault("reasoning_details", []).extend(details)
    calls = delta.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            _call(message.setdefault("tool_calls", {}), position, call)
    if isinstance(delta.get("function_call"), dict):
        _add_function(
            message.setdefault("function_call", {}), delta["function_call"]
        )


def _longer(text: Any, piece: Any) -> Any:
    """A text and its next piece; where one of them is a list of parts, so is the whole."""
    if text is None:
        return piece
    if isinstance(text, str) and isinstance(piece, str):
        return text + piece
    return [
        *(text if isinstance(text, list) else [text]),
        *(piece if isinstance(piece, list) else [piece]),
    ]


def _call(calls: dict[int, Fields], position: int, piece: Values) -> None:
    index = piece.get("index")
    call = calls.setdefault(
        index if isinstance(index, int) else position,
        {"type": "function", "function": {}},
    )
    if piece.get("id"):
        call["id"] = piece["id"]
    if isinstance(piece.get("function"), dict):
        _add_function(call["function"], piece["function"])


def _add_function(function: Fields, piece: Values) -> None:
    """The name comes whole, the arguments in pieces."""
    if piece.get("name"):
        function["name"] = piece["name"]
    if isinstance(piece.get("arguments"), str):
        function["arguments"] = (
            function.get("arguments", "") + piece["arguments"]
        )
