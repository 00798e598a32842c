"""The records that walk the line, one per door: Seed, Request, Completion, Sample, Verdict.

All frozen: a stage never edits a record, it returns a new one. Those made for every row are tuples,
which take half the time of a frozen dataclass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

Row = Mapping[str, Any]
Marks = Mapping[str, Any]
# Named values that nobody changes here: the parts of a reply, of a request, of a pack's file.
Values = Mapping[str, Any]
# Named values that are being gathered: a row, a reply, a request before it is sent.
Fields = dict[str, Any]


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces; ASCII where UTF-8 or 64 bits cannot
    hold it.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    b'{"a":[0.5,null],"b":1}'
    """
    try:
        return orjson.dumps(value, default=str, option=_CANONICAL)
    except TypeError:
        return _ascii_json(value, sort=True)


def ordered_json(value: Any) -> bytes:
    """The same with keys as they stand: what a provider is sent, since models write the properties
    of a schema in its order.

    >>> ordered_json({"reason": 1, "answer": [0.5, None]})
    b'{"reason":1,"answer":[0.5,null]}'
    """
    try:
        return orjson.dumps(value, default=str, option=_ORDERED)
    except TypeError:
        return _ascii_json(value, sort=False)


def _ascii_json(value: Any, *, sort: bool) -> bytes:
    """A value that UTF-8 or 64 bits cannot hold, by Python's own JSON."""
    text = json.dumps(
        finite(value),
        sort_keys=sort,
        separators=(",", ":"),
        default=str,
    )
    return text.encode()


def finite(value: Any) -> Any:
    """A value for Python's own JSON, which would write NaN and infinity: null stands for them, as
    in orjson's.

    >>> finite({"a": [float("nan"), 1.5]})
    {'a': [None, 1.5]}
    """
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return list(map(finite, value))
    return value


# A tenth of the time of `json`; a run makes three such texts a row.
_ORDERED = orjson.OPT_NON_STR_KEYS
_CANONICAL = orjson.OPT_SORT_KEYS | _ORDERED
# Fields of a request in which the order of keys changes what a model writes: a server holds its
# reply to a schema's properties one after the other, and a chat template shows tools as they stand.
_OF_ORDER = frozenset(
    {
        "guided_json",
        "json_schema",
        "response_format",
        "structured_outputs",
        "tools",
    }
)


class Seed(NamedTuple):
    """One input row; `id` is the user's id column or a hash of the content, never a position.

    `place` is known of a seed of a shard: where it stood in the whole input, counted from 0. No
    question and no filter sees it.
    """

    id: str
    fields: Row
    place: int | None = None


def seed_id(row: Row) -> str:
    """16 hex digits of the content's sha256 (2**-64 chance that two given rows meet)."""
    return hashlib.sha256(canonical_json(row)).hexdigest()[:16]


@dataclass(frozen=True)
class Sampling:
    """How a teacher draws; None means the provider's default. Every field is part of a request's
    key.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    # No provider's name: `synth.teachers.wire.thoughts` puts it into each one's words.
    thinking_tokens: int | None = None
    extra: Row = field(default_factory=dict)

    @property
    def thinks(self) -> bool:
        """Whether it says how a model thinks."""
        said = (self.reasoning_effort, self.thinking_tokens)
        return said != (None, None)

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The fields that were set, as a provider's request names them."""
        out = {
            name: getattr(self, name)
            for name in _SAMPLING_NAMES
            if getattr(self, name) is not None
        }
        if self.stop is not None:
            out["stop"] = list(self.stop)
        return {**out, **self.extra}


_SAMPLING_NAMES = [f.name for f in fields(Sampling) if f.name != "extra"]


# Nobody changes a request. It is not frozen, since that makes it three times as dear to build.
@dataclass
class Request:
    """One rendered question to one teacher. KEYED fields name the reply; UNKEYED ones only say who
    asks.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    family: str = "openai"
    sampling: Sampling = Sampling()
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Row | None = None
    draw: int = 0
    seed_id: str = ""
    step: str = ""
    inputs: Row = field(default_factory=dict)
    checked: bool = False
    images: Mapping[str, str] = field(default_factory=dict)

    KEYED = (
        "model",
        "messages",
        "family",
        "sampling",
        "tools",
        "response_format",
        "draw",
    )
    # `checked`: who asks holds the reply to the response format's schema itself, so that a teacher
    # may be told of it in words. `images`: digest -> URL; messages name an image by its digest.
    UNKEYED = ("seed_id", "step", "inputs", "checked", "images")

    @property
    def schema(self) -> Row | None:
        """The JSON Schema of the response format that whoever asks checks himself."""
        if not self.checked or self.response_format is None:
            return None
        held: Row = self.response_format["json_schema"]["schema"]
        return held

    def body(self) -> Fields:
        """The OpenAI chat body of this request, in which digests stand for images."""
        out: Fields = {
            "model": self.model,
            "messages": list(self.messages),
            **self.sampling.body,
        }
        if self.tools:
            out["tools"] = list(self.tools)
        if self.response_format is not None:
            out["response_format"] = self.response_format
        return out

    def sent(self) -> Fields:
        """The same with the images themselves, as a teacher is sent it."""
        body = self.body()
        if self.images:
            messages = [_shown(m, self.images) for m in self.messages]
            body["messages"] = messages
        return body

    @property
    def text(self) -> bytes:
        """The canonical JSON of the body; schemas and tools keep their order."""
        # Python 3.11's `cached_property` takes a lock, which takes as long as the text.
        cached: bytes | None = self.__dict__.get("_text")
        if cached is None:
            cached = self.__dict__["_text"] = _spelled(self.body())
        return cached

    def key(self) -> str:
        """64 hex digits that name the reply: sha256 of the KEYED fields as `text` spells them."""
        head = canonical_json([self.family, self.draw])
        return hashlib.sha256(b"%b,%b]" % (head[:-1], self.text)).hexdigest()


def _spelled(body: Fields) -> bytes:
    """The canonical JSON of a body but for the fields of which the order says something."""
    if _OF_ORDER.isdisjoint(body):
        return canonical_json(body)
    parts = []
    for name in sorted(body):
        spell = ordered_json if name in _OF_ORDER else canonical_json
        parts.append(b"%b:%b" % (canonical_json(name), spell(body[name])))
    return b"{%b}" % b",".join(parts)


def _shown(message: Values, images: Mapping[str, str]) -> Values:
    """A message whose digests have become images."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        digest = str(part.get("image_url", {}).get("url"))
        shown = images.get(digest)
        parts.append(image_part(shown) if shown else part)
    return {**message, "content": parts}


def image_part(url: str) -> Fields:
    """The part of a message that shows an image."""
    return {"type": "image_url", "image_url": {"url": url}}


def in_text(content: Any) -> str:
    r"""A message's content as text; an image is named by its digest.

    >>> in_text([{"type": "text", "text": "Count."}, image_part("sha256:0a")])
    'Count.\n[image sha256:0a]'
    """
    if not isinstance(content, list):
        return str(content)
    texts = []
    for part in content:
        if "image_url" in part:
            texts.append(f"[image {part['image_url']['url']}]")
        else:
            texts.append(str(part.get("text")))
    return "\n".join(texts)


class Call(NamedTuple):
    """A call of a function in a reply: its name, and its arguments as the text that came."""

    name: str
    arguments: str


class Completion(NamedTuple):
    """One reply, read from a raw record. `finish_reason` is stop, length, content_filter, ... or
    unknown.

    `logprobs` is the list of its tokens as OpenAI writes them, where they were asked for. `calls`
    are those of functions.
    """

    text: str
    finish_reason: str = "unknown"
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    reasoning: str = ""
    refusal: str = ""
    logprobs: Any = None
    cache_write_tokens: int = 0
    calls: tuple[Call, ...] = ()


# Characters of an exit's detail.
MOST_DETAIL = 300


class Verdict(NamedTuple):
    """One filter's word on one row: keep True, False, or None where it could not judge. Marks are
    its evidence.
    """

    keep: bool | None
    reason: str = ""
    marks: Marks = MappingProxyType({})
    filter: str = ""

    def struct(self) -> Fields:
        """The verdict as a row's `meta.verdicts` holds it; marks as JSON text."""
        marks = canonical_json(dict(self.marks)).decode() if self.marks else ""
        return {
            "filter": self.filter,
            "keep": self.keep,
            "reason": self.reason,
            "marks": marks,
        }

    def detail(self) -> str:
        """The marks as words, cut where they are long.

        >>> Verdict(False, "wrong_answer", {"said": "18", "gold": "8"}).detail()
        'said: 18, gold: 8'
        """
        words = ", ".join(
            f"{name}: {mark}" for name, mark in self.marks.items()
        )
        return words[:MOST_DETAIL]


class Sample(NamedTuple):
    """One draw on its way: the seed's fields and every field so far, who made it, and what the
    filters said.
    """

    seed: Seed
    fields: Row
    meta: Row = MappingProxyType({})
    verdicts: tuple[Verdict, ...] = ()

    def with_fields(self, new: Row, meta: Row) -> Sample:
        """The sample one step on."""
        return Sample(
            self.seed,
            {**self.fields, **new},
            {**self.meta, **meta},
            self.verdicts,
        )

    def without(self, name: str) -> Sample:
        """The sample without a field."""
        if name not in self.fields:
            return self
        return Sample(
            self.seed,
            {key: value for key, value in self.fields.items() if key != name},
            self.meta,
            self.verdicts,
        )

    def with_verdict(self, verdict: Verdict) -> Sample:
        """The sample with one more verdict."""
        return Sample(
            self.seed,
            self.fields,
            self.meta,
            (*self.verdicts, verdict),
        )

    def row(self) -> Fields:
        """What a filter, an export or a reader of the published files sees."""
        verdicts = [v.struct() for v in self.verdicts]
        return {
            "id": self.seed.id,
            **self.fields,
            "meta": {**self.meta, "verdicts": verdicts},
        }


class Exit(NamedTuple):
    """How a sample left the line: kept, dropped or failed, with its reason code and a detail to
    read.
    """

    kind: str
    sample: Sample
    reason: str = ""
    detail: str = ""


def hash_share(text: str) -> float:
    """Where a text falls between 0 and 1 by its hash: the same for the same text, whatever stands
    around it.
    """
    return (
        int.from_bytes(
            hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]
        )
        / 2**64
    )


def group_by(rows: Sequence[Any], key: Any) -> dict[Any, list[int]]:
    """Positions of rows that share a key, in order of first appearance.

    >>> group_by(["a", "b", "A"], str.lower)
    {'a': [0, 2], 'b': [1]}
    """
    groups: dict[Any, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(key(row), []).append(position)
    return groups
