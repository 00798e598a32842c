"""A server that is asked what a model says of given tokens."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import orjson

from finetune.core.rows import JsonObject
from finetune.data.tokens import common_start
from finetune.teachers.scored_tokens import (
    Vocabulary,
    Way,
    body_of,
    entries_of,
)
from synth.core.errors import TeacherError, TeacherRefused, WrongUse
from synth.core.records import Request, Sampling, canonical_json
from synth.teachers.base import Reply, Settings, announced
from synth.teachers.openai_chat import OpenaiChat
from synth.teachers.wire.faults import read_problem
from synth.teachers.wire.http_client import Answer
from synth.teachers.wire.replies import load_reply, read_chat

# The step of requests that are asked before a training, to see whether tokens are the same.
PROBE = "probe"


def question(
    way: Way, model: str, ids: Sequence[int], places: Sequence[int], k: int
) -> Request:
    """What is asked about a row, as its key holds it.

    Args:
        way: how.
        model: the server's name of it.
        ids: token ids; by `Way.NEXT` those before the place.
        places: numbers of tokens in them whose probabilities are wanted, from 1.
        k: likeliest tokens at each place.
    """
    asked = {"way": str(way), "k": k, "places": list(places), "max_tokens": 1}
    return Request(
        model=model,
        messages=(),
        family=Scorer.family,
        sampling=Sampling(extra={**asked, "prompt": list(ids)}),
    )


def scores_in(record: bytes) -> list[dict[int, float]]:
    """{token: natural log-probability} at each place, from a journaled reply."""
    (choice,) = orjson.loads(record)["choices"]
    return [dict(zip(ids, logs, strict=True)) for ids, logs in choice["scores"]]


class Scorer(OpenaiChat):
    """One model of one server.

    The journal holds one form of reply, whatever the server's is: a completion without a text,
    whose choice has `scores`, at each place a list of token ids and one of log-probabilities.

    Args:
        model: the server's name of it; "" until it is known.
        settings: `api_base`, `api_key_env` and `timeout`.
        words: the student's tokens.
    """

    family = "scores"
    path = "/completions"

    def __init__(
        self, model: str, settings: Settings, words: Vocabulary
    ) -> None:
        super().__init__(model, settings)
        self.words = words

    def say(self, text: str) -> None:
        """Nothing: who asks tells of a failure, which ends the training."""

    async def ask(self, request: Request) -> Reply:
        """What the model says of the places of a row."""
        asked = request.sampling.extra
        way = Way(asked["way"])
        ids = asked["prompt"]
        body = body_of(way, request.model, ids, asked["k"])
        status, headers, raw = await self._post(canonical_json(body))
        if status != 200:
            raise self._refusal(read_problem(status, raw), headers)
        value, _ = self.loaded(headers, self._target.redact.raw(raw))
        tables = entries_of(way, value, ids, asked["places"])
        if request.step == PROBE:
            for table in tables:
                _check_text(self.words.differing(table))
        scores = []
        for table in tables:
            known = self.words.known(table)
            scores.append([list(known), list(known.values())])
        record: JsonObject = {
            "object": "scores",
            "model": str(value.get("model") or request.model),
            "choices": [{"index": 0, "text": "", "scores": scores}],
            "usage": value.get("usage"),
        }
        return Reply(
            canonical_json(record), read_chat(record), announced(headers)
        )

    async def models(self) -> list[str]:
        """Names of the models that the server serves.

        Raises:
            TeacherError, Stopped: it does not say.
        """
        url = self._target.url("/models")
        endpoint = self.endpoint_at(url)
        try:
            status, headers, raw = await self.answered(endpoint.get())
        finally:
            await endpoint.close()
        if status != 200:
            raise self._refusal(read_problem(status, raw), headers)
        listed = load_reply(raw)[0].get("data")
        return [
            str(one["id"])
            for one in (listed if isinstance(listed, list) else [])
            if isinstance(one, dict) and one.get("id")
        ]

    async def check_tokens(self, text: str, ids: Sequence[int]) -> None:
        """Compares the server's tokens of a text with the student's, where the server has
        `/tokenize` (vLLM, llama.cpp, SGLang).

        Raises:
            TeacherRefused: `other_tokens`.
        """
        parts = urlsplit(self.endpoint.removesuffix("/v1") + "/tokenize")
        endpoint = self.endpoint_at(urlunsplit(parts))
        # The text goes by two names, each server reads its own.
        body = {
            "model": self.model,
            **dict.fromkeys(("prompt", "content"), text),
            **dict.fromkeys(("add_special_tokens", "add_special"), False),
        }
        try:
            answer = await self.answered(endpoint.post(canonical_json(body)))
        except TeacherError:
            return
        finally:
            await endpoint.close()
        theirs = _tokens_in(answer)
        if theirs and theirs != list(ids):
            same = common_start(theirs, ids)
            _check_text(
                f"the text {text!r} has {len(theirs)} tokens there and {len(ids)} here, and they "
                f"part at number {same + 1}"
            )


def _tokens_in(answer: Answer) -> list[int]:
    """The ids in a reply of `/tokenize`; [] where it is none."""
    try:
        value = orjson.loads(answer.body) if answer.status == 200 else {}
    except ValueError:
        return []
    tokens = value.get("tokens") if isinstance(value, dict) else None
    listed = tokens if isinstance(tokens, list) else []
    return listed if all(type(token) is int for token in listed) else []


def _check_text(differing: str) -> None:
    if differing:
        raise TeacherRefused("other_tokens", differing)


def refused_tokens(where: str, error: TeacherRefused) -> WrongUse:
    """The refusal of a teacher of another tokenizer, as a mistake of the call."""
    return WrongUse(
        where,
        f"another tokenizer: {error.args[1]}",
        "the student's tokens",
        "Name a teacher of the student's family, or a student of the teacher's.",
    )
