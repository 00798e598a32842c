"""OpenAI's bodies as a student takes them, and its replies and errors in OpenAI's shapes."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from finetune.core.rows import JsonObject
from finetune.generation.chat_worker import BATCH

# Replies to one request; they are drawn side by side.
MOST_CHOICES = BATCH
# Messages of a conversation, prompts of a request, words that are banned.
_MOST_MESSAGES = 10_000
_MOST_PROMPTS = BATCH
_MOST_WORDS = 1000
# Characters of a stop text.
_LONGEST_STOP = 1000
_MOST_STOPS = 16


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: what is wrong.
        param: the field; "" where it is none.
        code: OpenAI's name of the case; "" where it has none.
        kind: OpenAI's type.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str = "",
        code: str = "",
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: JsonObject = {
            "error": {
                "message": message,
                "type": kind,
                "param": param or None,
                "code": code or None,
            }
        }


# How JSON spells a half of a character, which alone is none.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
Stop = Annotated[str, Field(min_length=1, max_length=_LONGEST_STOP)]
Stops = Annotated[list[Stop], Field(max_length=_MOST_STOPS)]
Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]
Lists = Annotated[list[Tokens], Field(min_length=1)]


class _Part(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    """One message; what a template does not read may stand beside."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None

    def plain(self) -> JsonObject:
        """Its role and its text."""
        if isinstance(self.content, list):
            text = "".join(part.text for part in self.content)
        else:
            text = self.content or ""
        return {"role": self.role, "content": text}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class _Body(BaseModel):
    """What both kinds of requests have. A field that is unknown is refused: obeying half of a
    request would go unseen.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str = Field("", max_length=500)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1 << 20)
    stop: Stop | Stops | None = None
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    no_repeat_ngram_size: int | None = Field(None, ge=0, le=1000)
    bad_words: list[str] | None = Field(None, max_length=_MOST_WORDS)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    # Told and not needed: who asks, and how OpenAI is to keep and serve it.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None

    def sampling(self) -> JsonObject:
        """The fields that say how texts are drawn, as `finetune.generation.sampling` reads them."""
        names = (
            "temperature",
            "top_p",
            "top_k",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "bad_words",
        )
        given = {name: getattr(self, name) for name in names}
        fields = {n: value for n, value in given.items() if value is not None}
        if self.stop:
            stops = [self.stop] if isinstance(self.stop, str) else self.stop
            fields["stop"] = stops
        if self.seed is not None:
            fields["seed"] = self.seed
        return fields

    @property
    def choices(self) -> int:
        """Replies to each prompt."""
        return self.n or 1

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with the tokens that were counted."""
        options = self.stream_options
        return options is not None and options.include_usage


class _TextFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]


class ChatBody(_Body):
    """Of /v1/chat/completions."""

    messages: list[_Message] = Field(min_length=1, max_length=_MOST_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: _TextFormat | None = None

    def bodies(self, most: int) -> list[JsonObject]:
        """What the student is asked, a body for each reply.

        Args:
            most: tokens of a reply, where the request says nothing or more.
        """
        wanted = self.max_completion_tokens or self.max_tokens or most
        body = {
            "model": self.model,
            "messages": [message.plain() for message in self.messages],
            "max_tokens": min(wanted, most),
            **self.sampling(),
        }
        if self.logprobs:
            body.update(logprobs=True, top_logprobs=self.top_logprobs or 0)
        return [body] * self.choices


class TextBody(_Body):
    """Of /v1/completions."""

    prompt: str | Tokens | Texts | Lists
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """Texts, or token ids."""
        given: Any = self.prompt
        if isinstance(given, str) or isinstance(given[0], int):
            return [given]
        return list(given)

    def bodies(self, most: int) -> list[JsonObject]:
        """What the student is asked, a body for each reply: all of the first prompt first.

        Raises:
            Refused: more replies than are drawn side by side.
        """
        if not 1 <= len(self.prompts) * self.choices <= _MOST_PROMPTS:
            raise Refused(
                400,
                f"{len(self.prompts)} prompts with n={self.choices}; 1 to {_MOST_PROMPTS} replies "
                "a request are taken",
                param="prompt",
            )
        wanted = 16 if self.max_tokens is None else self.max_tokens
        rest = {
            "model": self.model,
            "max_tokens": min(wanted, most),
            **self.sampling(),
        }
        if self.logprobs is not None:
            rest.update(logprobs=True, top_logprobs=self.logprobs)
        if self.echo:
            rest["echo"] = True
        made = []
        for prompt in self.prompts:
            field = "prompt" if isinstance(prompt, str) else "ids"
            made += [{**rest, field: prompt}] * self.choices
        return made


def read(kind: type[_Body], raw: bytes) -> Any:
    """A body of this kind.

    Raises:
        Refused: it is none, with the first field that is wrong.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(400, "The body is no JSON object.")
    if _HALF.search(raw) and not _is_text(value):
        raise Refused(400, "The body holds half of a surrogate pair.")
    # A field that is null counts as one that is missing, as with OpenAI.
    given = {name: part for name, part in value.items() if part is not None}
    try:
        return kind.model_validate(given)
    except (ValidationError, RecursionError) as error:
        raise _first_fault(error) from error


def _is_text(value: JsonObject) -> bool:
    """Whether all texts of a JSON value can be written down."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_fault(error: ValidationError | RecursionError) -> Refused:
    if isinstance(error, RecursionError):
        return Refused(400, "The body is nested too deeply.")
    first, *others = error.errors(include_url=False, include_input=False)
    # One field may be of several kinds: the fault of the kind that fits best is told.
    field = first["loc"][:1]
    same = [first, *(other for other in others if other["loc"][:1] == field)]
    fault = max(same, key=_nearness)
    param = ".".join(map(str, filter(_is_place, fault["loc"])))
    unknown = fault["type"] == "extra_forbidden"
    why = "this server does not know it" if unknown else fault["msg"]
    return Refused(
        400,
        f"{param}: {why}"[:500],
        param=param[:200],
        code="unsupported_parameter" if unknown else "invalid_value",
    )


def _nearness(fault: ErrorDetails) -> tuple[bool, int]:
    """How far a value came before it failed."""
    return not fault["type"].endswith("_type"), len(fault["loc"])


def _is_place(part: str | int) -> bool:
    """Whether a part of a path is a field or a number, and no kind of value."""
    if isinstance(part, int):
        return True
    return part != "str" and part.isidentifier()


def head(kind: str, model: str) -> JsonObject:
    """What every reply of this kind begins with: chat.completion, or text_completion."""
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def usage(completions: Sequence[JsonObject], choices: int) -> JsonObject:
    """Tokens of all replies, each prompt counted once.

    Args:
        completions: all replies to the first prompt first.
        choices: replies a prompt.
    """
    counts = [completion["usage"] for completion in completions]
    asked = sum(count["prompt_tokens"] for count in counts[::choices])
    said = sum(count["completion_tokens"] for count in counts)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
    }


def chat_choice(completion: JsonObject, index: int) -> JsonObject:
    """A choice of a chat completion."""
    (choice,) = completion["choices"]
    return {"logprobs": None, **choice, "index": index}


def text_choice(completion: JsonObject, index: int) -> JsonObject:
    """A choice of a completion of text; the prompt stands before it where it was to be repeated.

    Args:
        completion: as a student answers.
        index: of the choice.
    """
    (choice,) = completion["choices"]
    made = {
        "index": index,
        "text": choice["message"]["content"],
        "finish_reason": choice["finish_reason"],
        "logprobs": None,
    }
    entries: list[JsonObject | None] = []
    if "logprobs" in choice:
        entries = list(choice["logprobs"]["content"])
    first = ""
    if "echo" in choice:
        echo = choice["echo"]
        first = echo["first"]
        made["text"] = echo["text"] + made["text"]
        # Of the first token of a prompt nothing is known.
        entries = [None, *echo["logprobs"], *entries]
    if "logprobs" in choice:
        made["logprobs"] = _columns(entries, first)
    return made


def opening(index: int) -> JsonObject:
    """Whose words follow, in a stream of a chat."""
    words = {"role": "assistant", "content": ""}
    return {"index": index, "delta": words, "finish_reason": None}


def part_choice(index: int, part: str, *, chat: bool) -> JsonObject:
    """A part of a text, in a stream."""
    if chat:
        return {
            "index": index,
            "delta": {"content": part},
            "finish_reason": None,
        }
    return {
        "index": index,
        "text": part,
        "logprobs": None,
        "finish_reason": None,
    }


def last_choice(
    completion: JsonObject, index: int, *, chat: bool
) -> JsonObject:
    """The end of a text, in a stream: why it ended, and its log-probabilities."""
    if chat:
        choice = chat_choice(completion, index)
        del choice["message"]
        return {**choice, "delta": {}}
    return {**text_choice(completion, index), "text": ""}


def _columns(
    entries: Sequence[JsonObject | None], first: str
) -> dict[str, list[Any]]:
    """Log-probabilities as completions of text have them: a list for each thing that is known of a
    token.
    """
    tokens = [first if entry is None else entry["token"] for entry in entries]
    offsets = []
    at = 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [entry and entry["logprob"] for entry in entries],
        "top_logprobs": [_best(entry) for entry in entries],
        "text_offset": offsets,
    }


def _best(entry: JsonObject | None) -> dict[str, float] | None:
    if entry is None:
        return None
    return {best["token"]: best["logprob"] for best in entry["top_logprobs"]}
