"""The contract of a teacher, and the one reader of replies.

Every backend returns the raw reply as JSON in the shape of an OpenAI chat completion, so that the journal
holds one dialect and `read_chat` is the only place that knows it.
"""

from __future__ import annotations

import email.utils
import json
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from synth import registry
from synth.errors import TeacherBusy, WrongUse, printable
from synth.records import Completion, Request

# Beyond a day a Retry-After is taken for a mistake of the server and passed over.
ABSURD_WAIT = 86_400.0
_LONE = re.compile("[\ud800-\udfff]")


class Limits(NamedTuple):
    """What a server announces that it allows a minute; None where it does not say."""

    requests: float | None
    tokens: float | None


class Reply(NamedTuple):
    """A raw reply, ready for the journal (one line of JSON), what it says, and the limits that came with it."""

    raw: bytes
    completion: Completion
    limits: Limits | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says about reaching a teacher.

    Attributes:
        api_base: the endpoint's URL; None for the provider's own.
        api_key_env: the variable that holds the key; None for the provider's usual one, empty for no key.
        headers: header name -> variable that holds its value.
        folder: the journal's.
        role: whose teacher it is; batches under way are noted with it.
    """

    api_base: str | None = None
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    seed: int = 0
    batch: bool = False
    folder: Path | None = None
    role: str = ""


class Teacher(ABC):
    """One model behind one endpoint.

    Attributes:
        model: the name that goes into requests.
        family: the endpoint family; part of a request's key.
    """

    model: str
    family: str

    def say(self, text: str) -> None:
        """Tells the user something about this teacher that is worth a line, once."""
        if text not in self.__dict__.setdefault("_said", set()):
            self.__dict__["_said"].add(text)
            sys.stderr.write(f"synth: note: {printable(' '.join(text.split()))}\n")

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take -> why, where requests are put without it."""
        return {}

    @property
    def endpoint(self) -> str:
        """Where the model is asked, without secrets; "" where its name says all."""
        return ""

    @abstractmethod
    async def ask(self, request: Request) -> Reply:
        """One reply to one request.

        Raises:
            TeacherBusy: temporary; the door asks again.
            TeacherRefused: final for this request.
            Stopped: every request would meet the same.
        """

    def hurry(self) -> None:  # noqa: B027 - most teachers answer within seconds
        """The run ends: what would take hours is given up now (and collected by the next run)."""

    def leftovers(self) -> dict[str, Reply]:
        """Replies by key that came without anyone asking in this run."""
        return {}

    async def close(self) -> None:
        """Releases connections; whatever was handed out is in the journal by now."""
        return


BACKENDS = {"openai": "openai_chat", "simulated": "simulated", "replay": "replay", "local": "local", "rehearsed": "rehearsed"}


def open_teacher(name: str, settings: Settings | None = None) -> Teacher:
    """The teacher that `PROVIDER/MODEL` names; providers that are not ours go through litellm.

    Raises:
        WrongUse: no such backend, file, or key in the environment; nothing was asked.
    """
    provider, slash, model = name.partition("/")
    if not slash or not model:
        todo = "For example openai/gpt-4o-mini, replay/FILE.jsonl or simulated/slips."
        raise WrongUse("--teacher", f"{name!r}", "PROVIDER/MODEL", todo)
    settings = settings or Settings()
    found = "batch" if provider == "openai" and settings.batch else BACKENDS.get(provider, "litellm")
    backend = registry.find("synth.teachers", found, "--teacher")
    teacher: Teacher = backend(model if provider in BACKENDS else name, settings)
    return teacher


def address(name: str) -> tuple[str, str]:
    """(endpoint family, model) of requests to PROVIDER/MODEL, as they stand in keys.

    >>> address("openai/gpt-4o-mini"), address("anthropic/claude")
    (('openai', 'gpt-4o-mini'), ('litellm', 'anthropic/claude'))
    """
    provider, _, model = name.partition("/")
    if provider.startswith("replay:"):
        return provider, model
    return (
        (provider, Path(model).stem if provider == "replay" else Path(model).name if provider == "rehearsed" else model)
        if provider in BACKENDS
        else ("litellm", name)
    )


def teacher_name(family: str, model: str) -> str:
    """The name that `address` reads back.

    >>> teacher_name("litellm", "anthropic/claude"), address(teacher_name("replay:0a1b", "gsm8k"))
    ('anthropic/claude', ('replay:0a1b', 'gsm8k'))
    """
    return model if family == "litellm" else f"{family}/{model}"


def load_reply(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """A reply's JSON and its one-line spelling for the journal.

    Raises:
        TeacherBusy: not JSON, or not an object (an HTML page with status 200, a cut-off body).
    """
    try:
        value = orjson.loads(raw)
        line = raw if b"\n" not in raw and b"\r" not in raw else orjson.dumps(value)
    except (ValueError, TypeError):
        value, line = _load_leniently(raw)
    if not isinstance(value, dict):
        raise TeacherBusy("invalid_reply", f"a JSON {type(value).__name__} where an object was due")
    return value, line


def _load_leniently(raw: bytes) -> tuple[Any, bytes]:
    """What strict JSON refuses and providers send: NaN, lone surrogates, invalid UTF-8."""
    try:
        value = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise TeacherBusy("invalid_reply", f"no JSON: {raw[:80]!r}") from error
    return value, json.dumps(value, ensure_ascii=True).encode()


def read_chat(value: Mapping[str, Any]) -> Completion:
    """The completion in a chat reply.

    Raises:
        TeacherBusy: no choice in it.
    """
    choices = value.get("choices")
    listed = [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    choice = next((c for c in listed if c.get("index") == 0), listed[0] if listed else None)
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise TeacherBusy("empty_choices", f"no choice in {str(value)[:120]}")
    said = value.get("usage")
    usage: dict[str, Any] = said if isinstance(said, dict) else {}
    return Completion(
        text=_text(message.get("content")),
        finish_reason=str(choice.get("finish_reason") or "unknown"),
        model=str(value.get("model") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_detail(usage.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_detail(usage.get("completion_tokens_details"), "reasoning_tokens"),
        reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
        refusal=_text(message.get("refusal")),
        logprobs=(choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None,
        cache_write_tokens=_written(usage),
    )


def _text(content: Any) -> str:
    """Text of a message: a string, or the text parts of a list; lone surrogates become U+FFFD."""
    if isinstance(content, list):
        content = "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    if not isinstance(content, str):
        return ""
    return content if content.isascii() else _LONE.sub("\ufffd", content)


def _count(tokens: Any) -> int:
    """A token count; 0 where it is missing, no whole number, negative or absurd (beyond 100 million)."""
    return tokens if type(tokens) is int and 0 <= tokens <= 100_000_000 else 0


def _detail(details: Any, name: str) -> int:
    return _count(details.get(name)) if isinstance(details, dict) else 0


def _written(usage: Mapping[str, Any]) -> int:
    """Tokens that the provider wrote to its cache, in the two places where providers say so."""
    details = usage.get("prompt_tokens_details")
    if not details and "cache_creation_input_tokens" not in usage:
        return 0
    named = [_detail(details, name) for name in ("cache_creation_tokens", "cache_write_tokens")]
    return max(_count(usage.get("cache_creation_input_tokens")), *named)


def chat_reply(text: str, *, finish_reason: str = "stop", model: str = "", prompt_tokens: int = 0, completion_tokens: int = 0) -> Reply:
    """A reply in the one dialect, for backends that have no such JSON of their own."""
    value = {
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
    }
    return Reply(json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode(), read_chat(value))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, seconds, or a date; None where it says nothing usable.

    >>> retry_after({"retry-after": "2.5"}), retry_after({"retry-after-ms": "80"}), retry_after({"retry-after": "soon"})
    (2.5, 0.08, None)
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        seconds = _seconds(text.strip(), scale)
        if seconds is not None and seconds <= ABSURD_WAIT:
            return max(0.0, seconds)
    return None


def announced(headers: Mapping[str, str]) -> Limits | None:
    """The limits a minute in `x-ratelimit-limit-requests` and `-tokens`; None without such headers.

    >>> announced({"x-ratelimit-limit-requests": "600"}), announced({})
    (Limits(requests=600.0, tokens=None), None)
    """
    found = Limits(*(_limit(headers.get(f"x-ratelimit-limit-{name}")) for name in ("requests", "tokens")))
    return found if any(found) else None


def _limit(text: str | None) -> float | None:
    try:
        return float(text) if text and 0 < float(text) < 1e12 else None
    except ValueError:
        return None


def _seconds(text: str, scale: float) -> float | None:
    try:
        number = float(text) * scale
    except ValueError:
        try:
            return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return number if number == number else None  # noqa: PLR0124 - NaN differs from itself
