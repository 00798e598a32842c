"""Batch APIs: the same requests, keys and replies as online, for about half the price and up to a
day of waiting.

Requests gather while the run renders them and go out together. The intent is on the disk before
anything is sent, and what finds the batch at the provider before it is created, so that after a
crash at any point the next run finds it again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from synth.core.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused
from synth.core.records import Fields, Request, canonical_json
from synth.teachers.base import MOST_REQUESTS, Reply, Settings, Teacher, address
from synth.teachers.batches.anthropic import Anthropic
from synth.teachers.batches.files import Files
from synth.teachers.batches.gemini import Gemini
from synth.teachers.batches.groq import Groq
from synth.teachers.batches.mistral import Mistral
from synth.teachers.batches.service import EXPIRED, Ended, Outcome, Service
from synth.teachers.batches.together import Together
from synth.teachers.batches.vertex import Vertex
from synth.teachers.litellm import (
    OWN_ENDPOINT,
    open_litellm,
    problem_of,
    translate,
)
from synth.teachers.wire.adapter import MOST_LESSONS, Adapter
from synth.teachers.wire.batch_log import BatchLog, Pending
from synth.teachers.wire.faults import error_of, failure_in, read_problem
from synth.teachers.wire.replies import read_chat
from synth.teachers.wire.thoughts import dialect_of, told_to_think

# What any provider takes in one batch: 200 MB (some room left). A service may take less.
MOST_BYTES = 190_000_000
# Seconds without a new request after which those that wait are sent.
QUIET = 0.5
# Seconds between looks at a batch: at first, and at most.
POLL = (1.0, 30.0)
CREATE_ATTEMPTS = 4
# Reasons for which a whole batch is turned down and may be sent again later.
_FULL = {"token_limit_exceeded", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"}

SERVICES: Mapping[str, type[Service]] = {
    "openai": Files,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "groq": Groq,
    "mistral": Mistral,
    "together_ai": Together,
    "vertex_ai": Vertex,
}


class _Line(NamedTuple):
    """A request that waits for its batch."""

    key: str
    text: bytes


class Batch(Teacher):
    """One model of one provider, asked in batches.

    Args:
        name: PROVIDER/MODEL; the provider is one of `SERVICES`.
        settings: `folder` is where batches under way are noted; without one a crash forgets them.
    """

    in_batches: ClassVar[bool] = True

    def __init__(self, name: str, settings: Settings) -> None:
        provider = name.partition("/")[0]
        self.family, self.model = address(name)
        self._provider = provider
        self._settings = settings
        self._service = SERVICES[provider](self.model, settings)
        self._log = BatchLog(settings.folder)
        self._inherited: Sequence[Pending] = ()
        self._futures: dict[str, asyncio.Future[Reply]] = {}
        self._asked: dict[str, Request] = {}
        self._sent: dict[str, Fields] = {}
        self._adapter = Adapter(
            self.model,
            self.endpoint,
            settings.folder,
            self.say,
            streams=False,
        )
        self._dialect = "" if self.family == "openai" else dialect_of(name)
        self._unclaimed: dict[str, Reply] = {}
        # The batch that gathers: our name of it, and its requests.
        self._name = uuid.uuid4().hex
        self._queue: list[_Line] = []
        self._bytes = 0
        self._speaking = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetched: list[str] = []
        self._opened = self._closing = self._cancels = False

    def __repr__(self) -> str:
        return f"Batch({self.model!r}, {self.endpoint!r})"

    @property
    def endpoint(self) -> str:
        """The base URL; as the same teacher has it online."""
        if self.family == "openai":
            return self._service.target.base
        return self._settings.api_base or OWN_ENDPOINT

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take."""
        return self._adapter.noted

    def _open(self) -> None:
        """With the first request, every batch that an earlier run left behind is followed."""
        if not self._opened:
            self._opened = True
            for batch in self._inherited:
                self._expect(batch)

    async def ask(self, request: Request) -> Reply:
        """One reply, hours later perhaps."""
        self._open()
        key = request.key()
        if key in self._unclaimed:
            return self._unclaimed.pop(key)
        if self._closing:
            raise _under_way()
        self._asked[key] = request
        future = self._futures.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._futures[key] = future
            await self._enqueue(key, request)
        return await future

    async def _enqueue(self, key: str, request: Request) -> None:
        """Puts a request, in the provider's words, to those that wait; one that has no such words
        gets its error.
        """
        self._speaking += 1
        try:
            spoken = await self._spoken(key, request)
        except (TeacherError, Stopped) as error:
            self._settle(key, error)
            return
        finally:
            self._speaking -= 1
        if self._closing:
            self._settle(key, _not_sent())
            return
        line = self._lined(key, spoken)
        if not self._fits(line):
            self._send()
            line = self._lined(key, spoken)
        self._queue.append(_Line(key, line))
        self._bytes += len(line) + 1
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        """Sends what waits once it is quiet; while requests are put into words it is not."""
        if self._timer:
            self._timer.cancel()
        then = self._wait_for_more if self._speaking else self._send
        self._timer = asyncio.get_running_loop().call_later(QUIET, then)

    def _fits(self, line: bytes) -> bool:
        """Whether one more request fits into the batch that gathers."""
        most = min(MOST_REQUESTS, self._service.most_requests)
        if len(self._queue) >= most:
            return False
        most_bytes = min(MOST_BYTES, self._service.most_bytes)
        return self._bytes + len(line) <= most_bytes

    def _lined(self, key: str, spoken: Fields) -> bytes:
        place = len(self._queue)
        name = self._service.custom_id(
            self._name,
            place,
            key,
        )
        return self._service.line(name, spoken)

    async def _spoken(self, key: str, request: Request) -> Fields:
        """A request's body as the model takes it, in the provider's words.

        Raises:
            TeacherRefused, Stopped: litellm says that the provider has no such words.
        """
        for _ in range(MOST_LESSONS):
            said = told_to_think(request.sent(), self._dialect)
            body = self._adapter.fit(said, request.schema)
            if self._adapter.rules or request.sampling.thinks:
                self._sent[key] = body
            try:
                return await self._service.spoken(body)
            except Exception as error:  # noqa: BLE001 - it becomes one of ours
                kinds = open_litellm().exceptions
                failure = translate(
                    kinds,
                    error,
                    self._scrub,
                    "",
                )
                problem = problem_of(error)
            if not self._adapter.learn(
                problem,
                body,
                request,
                self._scrub,
            ):
                break
        raise failure

    def _send(self) -> None:
        """Everything that waits goes out as one batch."""
        if not self._queue:
            return
        keys = [line.key for line in self._queue]
        batch = Pending(
            self._name,
            keys,
            role=self._settings.role,
            provider=self._provider,
        )
        lines = [line.text for line in self._queue]
        self._name = uuid.uuid4().hex
        self._queue = []
        self._bytes = 0
        self._start(batch, self._upload(batch, lines))

    def _expect(self, batch: Pending) -> None:
        """An earlier run's batch: its keys wait for it instead of being asked again."""
        self._futures.update(
            {
                key: asyncio.get_running_loop().create_future()
                for key in batch.keys
            }
        )
        self._start(batch, self._adopt(batch))

    def _start(
        self, batch: Pending, work: Coroutine[Any, Any, str | None]
    ) -> None:
        task = asyncio.create_task(self._through(batch, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _through(
        self, batch: Pending, work: Coroutine[Any, Any, str | None]
    ) -> None:
        """The life of one batch; whatever goes wrong reaches everyone who waits for it."""
        # Requests that the batch names may be asked anew before all of it is read.
        named: set[str] = set()
        try:
            id_ = await work
            ended = await self._wait(id_) if id_ else None
            if id_ and ended is not None:
                async for outcome in self._service.outcomes(id_, ended):
                    key = batch.key_of(outcome.name)
                    named.add(key)
                    await self._take(key, outcome)
            self._fetched.append(batch.name)
            error = _missing(ended)
        except asyncio.CancelledError:
            error = _under_way()
        except Exception as caught:  # noqa: BLE001 - it is handed on
            error = self._final(caught)
        for key in batch.keys:
            if key not in named:
                self._settle(key, error)

    def _final(self, caught: Exception) -> Stopped:
        """What ends the run, which can be resumed: all that can be tried again was."""
        if isinstance(caught, Stopped):
            return caught
        kind = "provider"
        if isinstance(caught, TeacherBusy) and caught.limited:
            kind = "rate_limit"
        named = type(caught).__name__
        words = f"{named}: {caught}"
        return Stopped(kind, self._scrub(words))

    def _settle(self, key: str, outcome: Reply | Exception) -> None:
        """Hands a request its outcome; a reply that nobody asked for yet is kept for who comes."""
        future = self._futures.pop(key, None)
        asked = self._asked.pop(key, None) is not None
        self._sent.pop(key, None)
        if future is None or future.done():
            return
        if isinstance(outcome, Reply) and not asked:
            self._unclaimed[key] = outcome
        elif isinstance(outcome, Reply):
            future.set_result(outcome)
        elif asked:
            future.set_exception(outcome)

    async def _upload(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Notes the intent and what finds the batch again, creates it; returns the provider's
        id.
        """
        self._log.intent(batch)
        batch.trace = await self._service.prepare(batch, lines)
        self._log.prepared(batch.name, batch.trace)
        id_ = await self._create(batch, lines)
        self._log.created(batch.name, id_)
        return id_

    async def _create(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Creates a batch once: where the answer is lost, the provider's list says whether it
        exists.
        """
        for attempt in range(CREATE_ATTEMPTS):
            try:
                return await self._service.create(batch, lines)
            except TeacherBusy:
                await asyncio.sleep(POLL[0] * 2**attempt)
                if (batch_id := await self._service.find(batch)) is not None:
                    return batch_id
                if attempt == CREATE_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _adopt(self, batch: Pending) -> str | None:
        """The id of an earlier run's batch; None where the crash came before it was created."""
        id_ = batch.id or await self._service.find(batch)
        if id_ and not batch.id:
            self._log.created(batch.name, id_)
        if id_ and self._cancels:
            await self._service.cancel(id_)
        return id_

    async def _wait(self, id_: str) -> Ended:
        """The batch, once it has ended."""
        pause = POLL[0]
        while (ended := await self._service.look(id_)) is None:
            await asyncio.sleep(pause)
            pause = min(POLL[1], 1.5 * pause)
        return ended

    async def _take(self, key: str, outcome: Outcome) -> None:
        """What became of one request reaches who waits for it, or it goes into another batch."""
        read = await self._read(key, outcome)
        if read is None:
            await self._enqueue(key, self._asked[key])
        else:
            self._settle(key, read)

    async def _read(
        self, key: str, outcome: Outcome
    ) -> Reply | Exception | None:
        """What became of a request; None where it is asked again as the model takes it."""
        if outcome.status == 0:
            if outcome.fault == EXPIRED:
                return _expired()
            return TeacherBusy(outcome.fault)
        try:
            if outcome.status == 200:
                return await self._reply(key, outcome.body)
            return self._refusal(
                key,
                outcome.status,
                outcome.body,
            )
        except (TeacherError, Stopped) as error:
            return error

    async def _reply(self, key: str, body: bytes) -> Reply:
        request = self._asked.get(key)
        asked = self._sent.get(key)
        if asked is None and request is not None:
            asked = request.body()
        clean = self._service.target.redact.raw(body)
        try:
            value = await self._service.heard(clean, asked)
        except (TeacherError, Stopped):
            raise
        # litellm's own: a reply that it cannot read.
        except Exception as error:  # noqa: BLE001
            raise TeacherBusy(
                "invalid_reply", self._scrub(str(error))
            ) from None
        failure = failure_in(value)
        if failure is not None:
            raise error_of(
                failure,
                {},
                self._scrub,
            )
        if request:
            self._adapter.mend(value, request)
        return Reply(canonical_json(value), read_chat(value))

    def _refusal(
        self, key: str, status: int, body: bytes
    ) -> TeacherError | Stopped | None:
        """Our error for a refused line; None where it only has to leave out what the model does not
        take.
        """
        problem = read_problem(status, body)
        request = self._asked.get(key)
        if request and self._adapter.learn(
            problem,
            self._sent.get(key) or request.body(),
            request,
            self._scrub,
        ):
            return _under_way() if self._closing else None
        return error_of(
            problem,
            {},
            self._scrub,
        )

    def _scrub(self, text: str) -> str:
        return self._service.exchange.scrub(text)

    def hurry(self) -> None:
        """Batches go on at the provider; the run stops waiting for them."""
        self._closing, unsent, self._queue = True, list(self._queue), []
        for task in self._tasks:
            task.cancel()
        for line in unsent:
            self._settle(line.key, _not_sent())

    def leftovers(self) -> dict[str, Reply]:
        """Replies of earlier runs' batches that this run did not ask for."""
        return self._unclaimed

    def recover(self, batches: Sequence[Pending]) -> None:
        """Follows batches of earlier runs, whether or not this run asks for their replies."""
        self._inherited = batches
        if batches:
            self._open()

    async def drain(self, batches: Sequence[Pending]) -> None:
        """Ends batches of earlier runs; their finished replies become leftovers, the rest can be
        asked online.
        """
        self._cancels = True
        self.recover(batches)
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Notes which batches are through; the others are left to the next run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in self._fetched:
            self._log.done(name)
        await self._service.close()


def _under_way() -> TeacherRefused:
    return TeacherRefused(
        "under_way",
        "its batch is still under way; the same command collects it",
    )


def _not_sent() -> TeacherRefused:
    return TeacherRefused("not_sent", "the run ended before its batch was sent")


def _expired() -> TeacherRefused:
    return TeacherRefused(
        "expired",
        "its batch ended first; the same command asks again, without --batch online",
    )


def _missing(ended: Ended | None) -> TeacherError | Stopped:
    """What becomes of requests that an ended batch does not name."""
    if ended is None or ended.status == "completed":
        return TeacherBusy(
            "not_in_batch", "the batch came back without this request"
        )
    if ended.status != "failed":
        return _expired()
    code = ended.code or "batch_failed"
    message = ended.message or "no reason given"
    if code in _FULL:
        return TeacherBusy(
            code,
            message,
            retry_after=POLL[1],
            limited=True,
        )
    return Stopped("batch", f"{code}: {message}")
