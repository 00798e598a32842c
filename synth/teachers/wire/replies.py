"""The one reader of replies: what a chat completion says, in any of the shapes of providers."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from synth.core.errors import TeacherBusy
from synth.core.patterns import lazy_pattern
from synth.core.records import Call, Completion, Fields, Values

_LONE = lazy_pattern("[\ud800-\udfff]")
_PAGE = lazy_pattern(rb"<title[^>]*>([^<]*)</title>", re.IGNORECASE)
# Words for an end of a reply, and the one of OpenAI's that means the same. Others stay as they are.
_PLAIN = frozenset({"stop", "length"})
_FINISH = {
    "stop": "stop",
    **dict.fromkeys(
        (
            "length",
            "max_tokens",
            "max_output_tokens",
            "max_completion_tokens",
            "model_length",
            "max_length",
            "token_limit",
            "model_context_window_exceeded",
            "context_length_exceeded",
        ),
        "length",
    ),
    **dict.fromkeys(
        (
            "content_filter",
            "content_filtered",
            "safety",
            "sensitive",
            "prohibited_content",
            "recitation",
            "blocklist",
            "spii",
            "guardrail_intervened",
            "moderation",
        ),
        "content_filter",
    ),
}
# Where providers put what a model thought, most usual first.
_THOUGHTS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "thinking_blocks",
    "reasoning_details",
)
_THOUGHT_NAMES = frozenset(_THOUGHTS)
# Where usage tells more than tokens in and out.
_DETAILS = frozenset(
    {
        "completion_tokens_details",
        "prompt_tokens_details",
        "reasoning_tokens",
    }
)
# Calls of one reply; no conversation may have as many.
_MOST_CALLS = 128
_THINKING = ("thinking", "reasoning", "thought")


def load_reply(raw: bytes) -> tuple[Fields, bytes]:
    """A reply's JSON and its one-line spelling for the journal.

    Raises:
        TeacherBusy: not JSON, or not an object (an HTML page with status 200, a cut-off body).
    """
    try:
        value = orjson.loads(raw)
        line = (
            raw
            if b"\n" not in raw and b"\r" not in raw
            else orjson.dumps(value)
        )
    except (ValueError, TypeError):
        value, line = _load_leniently(raw)
    if not isinstance(value, dict):
        raise TeacherBusy(
            "invalid_reply",
            f"a JSON {type(value).__name__} where an object was due",
        )
    return value, line


def _load_leniently(raw: bytes) -> tuple[Any, bytes]:
    """What strict JSON refuses and providers send: NaN, lone surrogates, invalid UTF-8."""
    try:
        value = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        page = _PAGE.search(raw[:20_000])
        title = page[1].decode("utf-8", "replace").strip()[:80] if page else ""
        got = (
            f"a web page ({title!r}), as of a login or a gateway: is --api-base right?"
            if page
            else f"{raw[:80]!r}"
        )
        raise TeacherBusy("invalid_reply", f"no JSON: {got}") from error
    return value, json.dumps(value, ensure_ascii=True).encode()


def read_chat(value: Values) -> Completion:
    """The completion in a chat reply.

    Raises:
        TeacherBusy: no choice in it.
    """
    choice = _first(value.get("choices"))
    message = _message(choice) if choice else None
    if choice is None or message is None:
        raise TeacherBusy("empty_choices", f"no choice in {str(value)[:120]}")
    reported = value.get("usage")
    usage: Fields = reported if isinstance(reported, dict) else {}
    thought = cached = 0
    # Most replies say nothing of them.
    if not _DETAILS.isdisjoint(usage):
        thought = _detail(
            usage.get("completion_tokens_details"), "reasoning_tokens"
        ) or _count(usage.get("reasoning_tokens"))
        cached = _detail(usage.get("prompt_tokens_details"), "cached_tokens")
    ended = str(choice.get("finish_reason") or "unknown")
    sent = _count(usage.get("prompt_tokens"))
    return Completion(
        text=_text(message.get("content")),
        finish_reason=_FINISH.get(ended.lower(), ended)
        if ended not in _PLAIN
        else ended,
        model=str(value.get("model") or ""),
        prompt_tokens=sent,
        completion_tokens=_made(usage, sent),
        cached_tokens=cached,
        reasoning_tokens=thought,
        reasoning=_thoughts(message),
        refusal=_text(message.get("refusal")),
        logprobs=_logprobs(choice.get("logprobs")),
        cache_write_tokens=_written(usage),
        calls=_calls(message),
    )


def _logprobs(said: Any) -> Any:
    """Of the tokens, as the provider sends them; None where there are none."""
    return said.get("content") if isinstance(said, dict) else None


def _first(choices: Any) -> Values | None:
    """The choice that calls itself the first, or else the first that there is."""
    listed = choices if isinstance(choices, list) else []
    first: Values | None = None
    for choice in listed:
        if isinstance(choice, dict):
            if choice.get("index") == 0:
                return choice
            first = choice if first is None else first
    return first


def _message(choice: Values) -> Values | None:
    """A choice's message; legacy completions have a text in its place."""
    message = choice.get("message")
    if isinstance(message, dict):
        return message
    if isinstance(choice.get("text"), str):
        return {"content": choice["text"]}
    return None


def _text(content: Any) -> str:
    """Text of a message: a string, or the texts of a list but for thoughts; lone surrogates become
    U+FFFD.
    """
    if content is None:
        return ""
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if not isinstance(content, str):
        return ""
    return content if content.isascii() else _LONE.sub("\ufffd", content)


def _part(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") not in _THINKING:
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _thoughts(message: Values) -> str:
    """What the model thought before it spoke, wherever the provider puts it."""
    for name in () if _THOUGHT_NAMES.isdisjoint(message) else _THOUGHTS:
        if message.get(name) and (thought := _thought(message[name])):
            return _text(thought)
    content = message.get("content")
    if not isinstance(content, list):
        return ""
    return _text(
        "".join(
            _thought(p)
            for p in content
            if isinstance(p, dict) and p.get("type") in _THINKING
        )
    )


def _thought(value: Any) -> str:
    """The text of a thought: plain, or in parts within parts."""
    if isinstance(value, list):
        return "".join(map(_thought, value))
    if isinstance(value, dict):
        parts = (
            value.get(name)
            for name in ("thinking", "text", "summary", "content", "reasoning")
        )
        return next(filter(None, map(_thought, parts)), "")
    return value if isinstance(value, str) else ""


def _calls(message: Values) -> tuple[Call, ...]:
    """The functions that a message calls."""
    listed = message.get("tool_calls")
    if not listed and "function_call" not in message:
        return ()
    functions = []
    if isinstance(listed, list):
        functions = [
            call.get("function")
            for call in listed[:_MOST_CALLS]
            if isinstance(call, dict)
        ]
    functions.append(message.get("function_call"))
    return tuple(
        Call(_text(function.get("name")) or "?", _spelled(function))
        for function in functions
        if isinstance(function, dict)
    )


def _spelled(function: Values) -> str:
    """The arguments of a call as text; some servers send the value itself."""
    arguments = function.get("arguments")
    if isinstance(arguments, str) or arguments is None:
        return _text(arguments)
    return _text(json.dumps(arguments))


def _made(usage: Values, sent: int) -> int:
    """Tokens out. Some providers leave thoughts out of them and count them in the total alone."""
    made = _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    return max(made, total - sent) if made else 0


def _count(tokens: Any) -> int:
    """A token count; 0 where it is missing, no whole number, negative or absurd (beyond 100
    million).
    """
    return tokens if type(tokens) is int and 0 <= tokens <= 100_000_000 else 0


def _detail(details: Any, name: str) -> int:
    return _count(details.get(name)) if isinstance(details, dict) else 0


def _written(usage: Values) -> int:
    """Tokens that the provider wrote to its cache, in the two places where providers say so."""
    details = usage.get("prompt_tokens_details")
    if not details and "cache_creation_input_tokens" not in usage:
        return 0
    named = [
        _detail(details, name)
        for name in ("cache_creation_tokens", "cache_write_tokens")
    ]
    return max(_count(usage.get("cache_creation_input_tokens")), *named)
