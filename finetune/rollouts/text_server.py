"""A server that writes behind token ids, and says which tokens it wrote and how likely each was."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import tenacity

from finetune.core.rows import JsonObject
from finetune.teachers.scored_tokens import Vocabulary
from synth.core.errors import TeacherBusy, TeacherError, TeacherRefused
from synth.core.records import canonical_json
from synth.teachers.base import Settings
from synth.teachers.openai_chat import OpenaiChat
from synth.teachers.wire.faults import read_problem
from synth.teachers.wire.http_client import Answer

# A token whose text is its number, as vLLM spells it where it is told to.
_NUMBERED = "token_id:"
# Seconds between two tries, at first and at most: a server that starts takes minutes.
_FIRST_PAUSE = 0.5
_LAST_PAUSE = 20.0
# The kind of the refusal of a model that the server does not know.
NO_MODEL = "no_model"
# The statuses of a place that is not there.
_ABSENT = frozenset({404, 405})


class Text(NamedTuple):
    """What was written behind a prompt.

    Attributes:
        ids: the tokens, with the end token where one was written.
        logs: ln of the probability of each under the weights that wrote it; None where the server
            does not say.
        ended: whether it ends there, and was not cut off.
    """

    ids: list[int]
    logs: list[float] | None
    ended: bool

    def whole(self, ends: Collection[int]) -> list[int]:
        """The tokens, with an end behind a text that ended without one; never none at all, since a
        row without a token teaches nothing.

        >>> Text([5, 6], None, True).whole({2}), Text([], None, False).whole({2})
        ([5, 6, 2], [2])
        """
        lacks = self.ended and not set(self.ids[-1:]) & set(ends)
        if ends and (lacks or not self.ids):
            return [*self.ids, min(ends)]
        return self.ids


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How tokens are drawn.

    Attributes:
        new_tokens: of a text at most.
        temperature: above 0.
        top_p: mass of the likeliest tokens that are drawn from, above 0 to 1.
        min_p: least probability, as a share of the likeliest token's, 0 to 1.
        ends: tokens that end a text.
    """

    new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    ends: tuple[int, ...] = ()


class TextServer(OpenaiChat):
    """One server that writes.

    Args:
        model: its name of the student; "" until it is known.
        settings: `api_base`, `api_key_env` and `timeout`.
        words: the student's tokens.
        native: whether SGLang's own `/generate` is asked, which tells the ids of its tokens, and
            not `/completions`.
    """

    path = "/completions"

    def __init__(
        self,
        model: str,
        settings: Settings,
        words: Vocabulary,
        *,
        native: bool = False,
    ) -> None:
        super().__init__(model, settings)
        self.words = words
        self.native = native
        if native:
            self._url = self.beside("/generate")

    def say(self, text: str) -> None:
        """Nothing: who asks tells of a failure."""

    def beside(self, path: str) -> str:
        """The URL of a place that does not stand under /v1."""
        return f"{self.endpoint.removesuffix('/v1')}{path}"

    async def called(self, path: str, body: JsonObject | None) -> Answer:
        """The answer of a place of this server, whatever its status: to a POST of `body`, or to a
        GET where that is None.

        Raises:
            TeacherBusy: nothing whole came.
        """
        endpoint = self.endpoint_at(self.beside(path))
        try:
            return await self.answered(
                endpoint.get()
                if body is None
                else endpoint.post(canonical_json(body))
            )
        finally:
            await endpoint.close()

    async def has(self, path: str) -> bool:
        """Whether a place is there: an empty question to it is refused for another reason than
        that it is not.
        """
        return (await self.called(path, {})).status not in _ABSENT

    async def told(self, path: str, *, patient: bool = False) -> JsonObject:
        """The JSON object at a place; {} where there is none.

        Args:
            path: of the place.
            patient: whether a server that is not there is waited for.

        Raises:
            TeacherBusy: nothing whole came.
        """
        answer = Answer(0, {}, b"")
        async for attempt in self._retrying(patient=patient):
            with attempt:
                answer = await self.called(path, None)
        return _object_in(answer) if answer.status == 200 else {}

    def _retrying(self, *, patient: bool = True) -> tenacity.AsyncRetrying:
        """Tries again for as long as a call may take; once, where that is not wanted."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TeacherBusy),
            stop=tenacity.stop_after_delay(self._timeout if patient else 0),
            wait=tenacity.wait_random_exponential(_FIRST_PAUSE, _LAST_PAUSE),
            reraise=True,
        )

    async def write(
        self,
        prompts: Sequence[Sequence[int]],
        how: Drawn,
        seeds: Sequence[int],
        most: int,
    ) -> list[Text]:
        """Texts behind token ids, each with a seed of its own.

        Args:
            prompts: token ids of each.
            how: tokens are drawn.
            seeds: of each.
            most: in flight at once.

        Raises:
            TeacherError, Stopped: one was not written; `NO_MODEL` where the server does not know
                the model.
        """
        gate = asyncio.Semaphore(most)

        async def one(ids: Sequence[int], seed: int) -> Text:
            async with gate:
                return await self._written(ids, how, seed)

        work = [
            one(ids, seed) for ids, seed in zip(prompts, seeds, strict=True)
        ]
        # All are waited for: none goes on behind the failure of another.
        done = await asyncio.gather(*work, return_exceptions=True)
        texts = []
        for text in done:
            if isinstance(text, BaseException):
                raise text
            texts.append(text)
        return texts

    async def _written(self, ids: Sequence[int], how: Drawn, seed: int) -> Text:
        body = self._body(ids, how, seed)
        async for attempt in self._retrying():
            with attempt:
                answer = await self._post(canonical_json(body))
                return self._text_in(answer)
        raise AssertionError  # tenacity raises what it ends with

    def _body(self, ids: Sequence[int], how: Drawn, seed: int) -> JsonObject:
        if self.native:
            sampling = {
                "max_new_tokens": how.new_tokens,
                "temperature": how.temperature,
                "top_p": how.top_p,
                "min_p": how.min_p,
                "stop_token_ids": list(how.ends),
                "sampling_seed": seed,
            }
            asked = {"input_ids": list(ids), "sampling_params": sampling}
            adapter = {"lora_path": self.model} if self.model else {}
            return {**asked, "return_logprob": True, **adapter}
        return {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": how.new_tokens,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "min_p": how.min_p,
            # A server puts the model's own defaults where nothing is said.
            "top_k": 0,
            "repetition_penalty": 1.0,
            "seed": seed,
            "stop_token_ids": list(how.ends),
            "logprobs": 1,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def _text_in(self, answer: Answer) -> Text:
        """The text in an answer.

        Raises:
            TeacherError, Stopped: there is none.
        """
        if answer.status != 200:
            problem = read_problem(answer.status, answer.body)
            text = problem.text(self._scrub)
            # SGLang refuses an adapter that it does not know as a bad request.
            if answer.status == 404 or (self.native and "lora" in text.lower()):
                raise TeacherRefused(NO_MODEL, text)
            raise self._refusal(problem, answer.headers)
        value, _ = self.loaded(answer.headers, answer.body)
        if self.native:
            return _of_sglang(value)
        match value.get("choices"):
            case [dict() as choice, *_]:
                return self._of_choice(choice)
        raise TeacherRefused("no_text", "no choice in the reply")

    def _of_choice(self, choice: JsonObject) -> Text:
        """What a completion says of its tokens: their ids (vLLM), ids beside their texts
        (llama.cpp), or their texts alone.
        """
        ended = choice.get("finish_reason") == "stop"
        said = choice.get("logprobs") or {}
        content = said.get("content")
        if isinstance(content, list):
            logs = [entry.get("logprob") for entry in content]
            ids = [entry.get("id") for entry in content]
            texts = [str(entry.get("token")) for entry in content]
        else:
            logs = list(said.get("token_logprobs") or ())
            texts = [str(token) for token in said.get("tokens") or ()]
            ids = [self._numbered(text) for text in texts]
        given = choice.get("token_ids")
        if isinstance(given, list):
            ids = given
        if not ids or any(type(token) is not int for token in ids):
            ids = self.words.tokenizer(
                str(choice.get("text") or ""), add_special_tokens=False
            )["input_ids"]
        whole = len(logs) == len(ids) and None not in logs
        return Text(ids, logs if whole else None, ended)

    def _numbered(self, text: str) -> int | None:
        """The id of a token from its text; None where several have it."""
        if text.startswith(_NUMBERED):
            return int(text.removeprefix(_NUMBERED))
        return self.words.by_text.get(text)


def _of_sglang(value: JsonObject) -> Text:
    """Of `/generate`: [ln p, id, text] of each token."""
    said: Any = value.get("meta_info") or {}
    tokens = said.get("output_token_logprobs")
    if not isinstance(tokens, list):
        raise TeacherRefused("no_text", "no output_token_logprobs in the reply")
    reason = said.get("finish_reason") or {}
    return Text(
        [int(entry[1]) for entry in tokens],
        [float(entry[0]) for entry in tokens],
        reason.get("type") == "stop",
    )


def _object_in(answer: Answer) -> JsonObject:
    try:
        value = orjson.loads(answer.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def refused(what: str, answer: Answer) -> TeacherError:
    """The error of a place that did not do what it was told."""
    text = answer.body[:300].decode(errors="replace")
    return TeacherRefused("reload", f"{what}: {answer.status} {text}".strip())
