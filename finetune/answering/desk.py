"""The one thread that a student answers in: requests wait in a line with an end, and those that
wait together and share their sampling are answered together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.answering.chain import Chain, Question
from finetune.answering.protocol import Refused
from finetune.core.rows import JsonObject
from finetune.data.prompts import Prompt
from finetune.generation.chat_worker import Answerer, batches
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Seconds that a thread has to end once nobody waits for it.
_GONE_SECONDS = 10.0


class Words:
    """One text while it is written: what of it is sure to stay is told at once.

    Args:
        tokenizer: the student's.
        ends: tokens that end a text.
        stops: texts that end it, and do not belong to it.
        tell: takes each new part.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        ends: set[int],
        stops: Sequence[str],
        tell: Any,
    ) -> None:
        self.has_left = False
        self._tokenizer = tokenizer
        self._ends = ends
        self._stops = stops
        self._tell = tell
        self._ids: list[int] = []
        self._told = ""
        self._over = False
        # A stop may have begun in so many characters at the end.
        self._held = max(map(len, stops), default=1) - 1

    def hear(self, token: int) -> None:
        """The next token."""
        if self._over or token in self._ends:
            self._over = True
            return
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        if any(stop in text for stop in self._stops):
            self._over = True
            return
        # A character that is not whole yet decodes to U+FFFD; it may be the rest of a stop.
        whole = text.rstrip("\ufffd")
        sure = whole[: max(0, len(whole) - self._held)]
        if len(sure) > len(self._told) and sure.startswith(self._told):
            self._tell(sure[len(self._told) :])
            self._told = sure

    def finish(self, text: str) -> None:
        """Tells the rest of the whole text.

        Raises:
            ValueError: it does not begin as it was told.
        """
        if not text.startswith(self._told):
            raise ValueError("a text went on otherwise than it had begun")
        if len(text) > len(self._told):
            self._tell(text[len(self._told) :])
            self._told = text


@dataclass(eq=False)
class Job:
    """One request and those of its replies that have come.

    Attributes:
        bodies: one a reply.
        loop: of who waits.
        choices: replies to each prompt; all of the first one come first.
        stream: takes (index, part of a text) while they are written; None where nobody listens.
        done: the replies, in order, or what went wrong.
        has_left: whether nobody waits any longer.
    """

    bodies: Sequence[JsonObject]
    loop: asyncio.AbstractEventLoop
    stream: asyncio.Queue[tuple[int, str]] | None = None
    choices: int = 1
    has_left: bool = False

    def __post_init__(self) -> None:
        self.done: asyncio.Future[list[JsonObject]] = self.loop.create_future()
        # A reply that nobody reads is no fault of the loop's.
        self.done.add_done_callback(lambda done: done.exception())
        self._replies: dict[int, JsonObject] = {}
        self._words: dict[int, Words] = {}

    def heard_by(
        self, index: int, tokenizer: PreTrainedTokenizerBase, ends: set[int]
    ) -> Words:
        """Who hears one of the texts."""
        words = Words(
            tokenizer,
            ends,
            self.bodies[index].get("stop") or [],
            lambda part: self._tell(index, part),
        )
        words.has_left = self.has_left
        self._words[index] = words
        return words

    def leave(self) -> None:
        """Nobody waits any longer."""
        self.has_left = True
        for words in list(self._words.values()):
            words.has_left = True

    def _tell(self, index: int, part: str) -> None:
        if self.stream is not None:
            self._soon(self.stream.put_nowait, (index, part))

    def answered(self, index: int, reply: JsonObject) -> None:
        """One of the replies has come."""
        if index in self._words and self.stream is not None:
            (choice,) = reply["choices"]
            try:
                self._words[index].finish(choice["message"]["content"])
            except ValueError as error:
                self.failed(error)
                return
        self._replies[index] = reply
        if len(self._replies) == len(self.bodies):
            replies = [self._replies[n] for n in range(len(self.bodies))]
            self._soon(self._settle, replies, None)

    def failed(self, error: Exception) -> None:
        """No reply comes."""
        self._soon(self._settle, [], error)

    def _settle(
        self, replies: list[JsonObject], error: Exception | None
    ) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(replies)
        else:
            self.done.set_exception(error)

    def _soon(self, work: Any, *values: Any) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(work, *values)


class Desk:
    """Answers jobs in a thread of its own.

    Args:
        answerer: the student.
        chain: makes prompts of questions; None where a question is its own prompt.
        context: tokens of a prompt and its reply at most; None where nobody knows.
        most: replies that may wait, those under way included.
    """

    def __init__(
        self,
        answerer: Answerer,
        chain: Chain | None,
        *,
        context: int | None,
        most: int,
    ) -> None:
        self.answerer = answerer
        self.chain = chain
        self.context = context
        self.most = most
        self.waiting = 0
        self.batches = 0
        self.replies = 0
        self._jobs: set[Job] = set()
        self._queue: queue.Queue[JsonObject | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def take(self, job: Job) -> None:
        """Puts a job at the end of the line.

        Raises:
            Refused: the line is full, or the server ends.
        """
        if self._closed:
            raise Refused(503, "The server ends.", kind="server_error")
        if self.waiting + len(job.bodies) > self.most:
            raise Refused(
                429,
                f"{self.waiting} replies wait already, of {self.most} at most (--queue).",
                code="queue_full",
                kind="rate_limit_error",
            )
        self.waiting += len(job.bodies)
        self._jobs.add(job)
        for index, body in enumerate(job.bodies):
            alone = self._alone(job, body)
            self._queue.put({"id": (job, index), "body": {**body, **alone}})

    def _alone(self, job: Job, body: JsonObject) -> JsonObject:
        """Draws with a seed share their batch with none of another request: what a seed brings
        would depend on it.
        """
        if body.get("seed") is None or body.get("temperature") == 0:
            return {}
        return {"company": id(job)}

    def leave(self, job: Job) -> None:
        """A job is over, or nobody waits for it: it is out of the line."""
        if job in self._jobs:
            self._jobs.remove(job)
            self.waiting -= len(job.bodies)
        job.leave()

    async def close(self) -> None:
        """Ends the thread; what still waits fails."""
        self._closed = True
        for job in list(self._jobs):
            job.failed(Refused(503, "The server ends.", kind="server_error"))
            self.leave(job)
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, _GONE_SECONDS)

    def _work(self) -> None:
        for together in batches(self._queue):
            wanted = [r for r in together if not r["id"][0].has_left]
            if wanted:
                self.batches += 1
                self.replies += len(wanted)
                self._answer(wanted)

    def _answer(self, together: Sequence[JsonObject]) -> None:
        asked = self._asked(together)
        try:
            listeners = [self._listener(request) for request in asked]
            replies = self.answerer.answer(
                [request["body"] for request in asked], listeners
            )
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            self._fail(asked, error)
            return
        for request, reply in zip(asked, replies, strict=True):
            job, index = request["id"]
            job.answered(index, reply)

    def _listener(self, request: JsonObject) -> Words:
        job, index = request["id"]
        words: Words = job.heard_by(
            index, self.answerer.tokenizer, self.answerer.ends
        )
        return words

    def _fail(self, together: Sequence[JsonObject], error: Exception) -> None:
        for request in together:
            request["id"][0].failed(error)

    def _asked(self, together: Sequence[JsonObject]) -> list[JsonObject]:
        """The requests that can be asked, with the ids of their prompts; the others fail."""
        made = []
        prompts = self._prompts(together)
        for request, prompt in zip(together, prompts, strict=True):
            job, _ = request["id"]
            body = request["body"]
            try:
                if isinstance(prompt, Exception):
                    raise prompt
                if prompt is not None:
                    field = "prompt" if isinstance(prompt, str) else "messages"
                    body = {**body, field: prompt}
                ids = self.answerer.ids(body)
                self._check(ids, body)
            except WrongUse as error:
                job.failed(Refused(400, str(error)))
            except Exception as error:  # noqa: BLE001 - a tokenizer's or a template's own
                job.failed(error)
            else:
                made.append({**request, "body": {**body, "ids": ids}})
        return made

    def _prompts(
        self, together: Sequence[JsonObject]
    ) -> list[Prompt | Exception | None]:
        """What the student is asked in the place of each body's own prompt; None for token ids."""
        own = [
            request["body"].get("messages", request["body"].get("prompt"))
            for request in together
        ]
        if self.chain is None:
            return own
        # One chain over all that have a text.
        places = [n for n, prompt in enumerate(own) if prompt is not None]
        questions = [Question(own[n], "request") for n in places]
        made: list[Prompt | Exception | None] = list(own)
        try:
            asked = self.chain.prompts(questions)
        except Exception as error:  # noqa: BLE001 - it fails these requests alone
            for place in places:
                made[place] = error
            return made
        for place, prompt in zip(places, asked, strict=True):
            made[place] = prompt
        return made

    def _check(self, ids: Sequence[int], body: JsonObject) -> None:
        """A prompt that the student can read.

        Raises:
            Refused: it is too long, or has a token that there is not.
        """
        size = len(self.answerer.tokenizer)
        if max(ids) >= size:
            raise Refused(
                400,
                f"token {max(ids)}; the vocabulary has {size}",
                param="prompt",
                code="invalid_value",
            )
        wanted = len(ids) + int(body["max_tokens"])
        if self.context is not None and wanted > self.context:
            raise Refused(
                400,
                f"This model's maximum context length is {self.context} tokens. However, the "
                f"prompt has {len(ids)}, and max_tokens is {body['max_tokens']}.",
                param="max_tokens",
                code="context_length_exceeded",
            )
