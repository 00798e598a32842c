"""The contract of a teacher.

Every backend returns the raw reply as JSON in the shape of an OpenAI chat completion, so that the
journal holds one dialect and `read_chat` is the only place that knows it.
"""

from __future__ import annotations

import email.utils
import json
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, NamedTuple

from synth.core import registry
from synth.core.errors import WrongUse, printable
from synth.core.patterns import lazy_pattern
from synth.core.plugins import installed, is_import
from synth.core.records import Call, Completion, Fields, Request
from synth.teachers.wire.batch_log import Pending
from synth.teachers.wire.capacity import UNKNOWN, Capacity
from synth.teachers.wire.replies import read_chat

# Beyond a day a Retry-After is taken for a mistake of the server and passed over.
ABSURD_WAIT = 86_400.0


class Limits(NamedTuple):
    """What a server announces that it allows a minute; None where it does not say."""

    requests: float | None
    tokens: float | None


class Reply(NamedTuple):
    """A raw reply, ready for the journal (one line of JSON), what it says, and the limits that came
    with it.
    """

    raw: bytes
    completion: Completion
    limits: Limits | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says about reaching a teacher.

    Attributes:
        api_base: the endpoint's URL; None for the provider's own.
        api_key_env: the variable that holds the key; None for the provider's usual one, empty for
            no key.
        endpoints: many endpoints of one model: URLs, or the file or folder that names them.
        headers: header name -> variable that holds its value.
        folder: the journal's.
        role: whose teacher it is; batches under way are noted with it.
        plugins: modules of the user's whose parts a pack may name.
        bucket: of batches, the folder of a bucket that requests and replies go through.
    """

    api_base: str | None = None
    endpoints: str | None = None
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    seed: int = 0
    batch: bool = False
    folder: Path | None = None
    role: str = ""
    plugins: tuple[str, ...] = ()
    bucket: str | None = None


class Teacher(ABC):
    """One model behind one endpoint.

    Attributes:
        model: the name that goes into requests.
        family: the endpoint family; part of a request's key.
    """

    model: str
    family: str
    # Whether requests gather and wait for hours at the provider.
    in_batches: ClassVar[bool] = False

    def __init__(self, model: str, settings: Settings) -> None:  # noqa: ARG002
        self.model = model

    def say(self, text: str) -> None:
        """Tells the user something about this teacher that is worth a line, once."""
        if text not in self.__dict__.setdefault("_said", set()):
            self.__dict__["_said"].add(text)
            sys.stderr.write(
                f"synth: note: {printable(' '.join(text.split()))}\n"
            )

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take -> why, where requests are put without it."""
        return {}

    @property
    def endpoint(self) -> str:
        """Where the model is asked, without secrets; "" where its name says all."""
        return ""

    async def capacity(self) -> Capacity:
        """What the server says that it takes; it is asked once, and where it is the user's own."""
        return UNKNOWN

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

    def recover(self, batches: Sequence[Pending]) -> None:  # noqa: B027 - of those in batches
        """Follows batches of earlier runs, whether or not this run asks for their replies."""

    async def drain(self, batches: Sequence[Pending]) -> None:  # noqa: B027 - as above
        """Ends batches of earlier runs; their finished replies become leftovers, the rest can be
        asked online.
        """

    async def close(self) -> None:
        """Releases connections; whatever was handed out is in the journal by now."""
        return


BACKENDS = {
    "openai": "openai_chat",
    "simulated": "simulated",
    "replay": "replay",
    "local": "local",
    "rehearsed": "rehearsed",
}
# What any provider takes in one batch; a service may take less.
MOST_REQUESTS = 50_000
# Providers whose batches `synth.teachers.batch` knows.
BATCHED = frozenset(
    [
        "openai",
        "anthropic",
        "gemini",
        "groq",
        "mistral",
        "together_ai",
        "vertex_ai",
    ]
)


def takes_batches(name: str) -> bool:
    """Whether PROVIDER/MODEL can be asked in batches.

    >>> takes_batches("anthropic/claude"), takes_batches("local/PATH")
    (True, False)
    """
    return name.partition("/")[0] in BATCHED


def open_teacher(name: str, settings: Settings | None = None) -> Teacher:
    """The teacher that `PROVIDER/MODEL` names: a provider of ours, one that an installed package
    announces, or `module:Class`; all others go through litellm.

    Raises:
        WrongUse: no such backend, file, or key in the environment; nothing was asked.
    """
    provider, slash, model = name.partition("/")
    if not slash or not model:
        todo = "For example openai/gpt-4o-mini, replay/FILE.jsonl or simulated/slips."
        raise WrongUse("--teacher", f"{name!r}", "PROVIDER/MODEL", todo)
    settings = settings or Settings()
    if provider not in BACKENDS and _is_the_users(provider):
        return _open_the_users(provider, model, settings)
    in_batches = settings.batch and takes_batches(name)
    backend_name = BACKENDS.get(provider, "litellm")
    backend = registry.find(
        "synth.teachers",
        "batch" if in_batches else backend_name,
        "--teacher",
    )
    whole = in_batches or provider not in BACKENDS
    teacher: Teacher = backend(name if whole else model, settings)
    return teacher


def _is_the_users(provider: str) -> bool:
    """Whether a provider is a class of the user's: one that is named or announced."""
    return is_import(provider) or (
        provider not in registry.built_in("synth.teachers")
        and provider in installed("teachers")
    )


def _open_the_users(provider: str, model: str, settings: Settings) -> Teacher:
    """A teacher of the user's; its family is its provider's name, so that its keys are no other
    teacher's.
    """
    backend = registry.find("synth.teachers", provider, "--teacher")
    try:
        teacher: Teacher = backend(model, settings)
    except TypeError as error:
        raise WrongUse(
            "--teacher",
            f"{provider}/{model}: {error}",
            f"{backend.__name__}(model, settings)",
            "See docs/plugins.md for a teacher that works.",
        ) from error
    teacher.family = provider
    return teacher


def address(name: str) -> tuple[str, str]:
    """(endpoint family, model) of requests to PROVIDER/MODEL, as they stand in keys.

    >>> address("openai/gpt-4o-mini"), address("anthropic/claude")
    (('openai', 'gpt-4o-mini'), ('litellm', 'anthropic/claude'))
    """
    provider, _, model = name.partition("/")
    if provider.startswith("replay:"):
        return provider, model
    if provider == "replay":
        return provider, Path(model).stem
    if provider == "rehearsed":
        return provider, Path(model).name
    if provider in BACKENDS or _is_the_users(provider):
        return provider, model
    return ("litellm", name)


def teacher_name(family: str, model: str) -> str:
    """The name that `address` reads back.

    >>> (
    ...     teacher_name("litellm", "anthropic/claude"),
    ...     address(teacher_name("replay:0a1b", "gsm8k")),
    ... )
    ('anthropic/claude', ('replay:0a1b', 'gsm8k'))
    """
    return model if family == "litellm" else f"{family}/{model}"


def chat_reply(
    text: str,
    *,
    finish_reason: str = "stop",
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    calls: Sequence[Call] = (),
) -> Reply:
    """A reply in the one dialect, for backends that have no such JSON of their own."""
    message: Fields = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call{place}",
                "type": "function",
                "function": call._asdict(),
            }
            for place, call in enumerate(calls)
        ]
    value = {
        "object": "chat.completion",
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
        },
    }
    return Reply(
        json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode(),
        read_chat(value),
    )


# Statuses that ask for a pause: too many requests, unavailable, overloaded.
_PAUSING = frozenset({429, 503, 529})
# Where a server says how long to wait, in the order in which it counts: header, seconds a unit.
_WAITS = (
    ("retry-after-ms", 0.001),
    ("x-ms-retry-after-ms", 0.001),
    ("retry-after", 1.0),
)
# Where it says when a limit is whole again; (what remains of it, its reset).
_RESETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    (
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
)
# A header said twice is a list; the comma behind a weekday separates nothing.
_BETWEEN = lazy_pattern(r"(?<!Mon|Tue|Wed|Thu|Fri|Sat|Sun|day),", re.IGNORECASE)
# "6m0s", "1h2m3.5s", "120ms".
_SPANS = lazy_pattern(
    r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|us|µs|ns|[dhms]))+", re.ASCII
)
_SPAN = lazy_pattern(r"([\d.]+)(ms|us|µs|ns|[dhms])")
_UNIT = {
    "d": 86_400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
# Numbers from here on are seconds since 1970, and from there on milliseconds since then.
_EPOCH = 1e9
_EPOCH_MS = 1e11
_LONGEST_WORD = 100


def retry_after(headers: Mapping[str, str], status: int = 429) -> float | None:
    """Seconds that a server asks to wait; None where it says nothing usable.

    Where it names no time to wait, the reset of the limit that is used up counts (of several, the
    last), or the first reset where no limit is said to be.

    Args:
        headers: of the reply, names in lower case; a header that came twice is a list.
        status: of the reply; a pause is asked for by 429, 503 and 529 alone.

    >>> retry_after({"retry-after": "2.5"}), retry_after({"retry-after-ms": "80"})
    (2.5, 0.08)
    >>> retry_after({"x-ratelimit-reset-tokens": "6m0s"}), retry_after({"retry-after": "soon"})
    (360.0, None)
    """
    if status not in _PAUSING:
        return None
    now = time.time()
    for name, unit in _WAITS:
        if (wait := _longest(headers.get(name), now, unit)) is not None:
            return wait
    waits = [
        (headers.get(left), _longest(headers.get(reset), now))
        for left, reset in _RESETS
    ]
    resets = [(left, wait) for left, wait in waits if wait is not None]
    used_up = [
        wait for left, wait in resets if left is not None and _number(left) == 0
    ]
    if used_up:
        return max(used_up)
    return min((wait for _, wait in resets), default=None)


def _longest(text: str | None, now: float, unit: float = 1.0) -> float | None:
    """The longest of the waits that a header names, from 0 on; None where it names none."""
    words = [
        word.strip()
        for word in _BETWEEN.split((text or "")[: 4 * _LONGEST_WORD])
    ]
    waits = [_seconds(word, now, unit) for word in words]
    usable = [
        max(0.0, wait)
        for wait in waits
        if wait is not None and wait <= ABSURD_WAIT
    ]
    return max(usable, default=None)


def _seconds(word: str, now: float, unit: float) -> float | None:
    """Seconds from now of a number, a span or a moment."""
    if not word or len(word) > _LONGEST_WORD:
        return None
    number = _number(word)
    if number is not None:
        if number >= _EPOCH_MS:
            return number / 1000 - now
        return number - now if number >= _EPOCH else number * unit
    if _SPANS.fullmatch(word):
        return sum(
            float(count) * _UNIT[name] for count, name in _SPAN.findall(word)
        )
    moment = _moment(word)
    return None if moment is None else moment - now


def _number(word: str) -> float | None:
    """A plain finite number, without the liberties of Python (`1_000`, `inf`)."""
    return float(word) if _PLAIN.fullmatch(word) else None


_PLAIN = lazy_pattern(
    r"\s*[+-]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*", re.ASCII
)


def _moment(word: str) -> float | None:
    """Seconds since 1970 of a date as HTTP (three forms) or ISO 8601 has it; without a zone it is
    UTC.
    """
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(word)
            return (
                moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            ).timestamp()
        except (
            ValueError,
            TypeError,
            OverflowError,
            IndexError,
            AttributeError,
        ):
            continue
    return None


def announced(headers: Mapping[str, str]) -> Limits | None:
    """The limits a minute in `x-ratelimit-limit-requests` and `-tokens`; None without such headers.

    >>> announced({"x-ratelimit-limit-requests": "600"}), announced({})
    (Limits(requests=600.0, tokens=None), None)
    """
    requests = headers.get("x-ratelimit-limit-requests")
    tokens = headers.get("x-ratelimit-limit-tokens")
    if requests is None and tokens is None:
        return None
    limits = Limits(_limit(requests), _limit(tokens))
    return limits if any(limits) else None


def _limit(text: str | None) -> float | None:
    try:
        return float(text) if text and 0 < float(text) < 1e12 else None
    except ValueError:
        return None
