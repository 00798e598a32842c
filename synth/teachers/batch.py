"""OpenAI's Batch API: the same requests, keys and replies as online, for about half the price and
up to a day of waiting.

Requests gather while the run renders them and go out as one file. The intent is on the disk before
the upload, and the provider keeps our name with the batch, so that after a crash at any point the
next run finds it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from synth.core.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused
from synth.core.records import Fields, Request, canonical_json
from synth.teachers.base import Reply, Settings, Teacher
from synth.teachers.openai_chat import target
from synth.teachers.wire.adapter import Adapter
from synth.teachers.wire.batch_log import BatchLog, Pending
from synth.teachers.wire.faults import error_of, failure_in, read_problem
from synth.teachers.wire.replies import load_reply, read_chat
from synth.teachers.wire.thoughts import told_to_think

# What the provider takes in one file: 50,000 requests, 200 MB (some room left).
MOST_REQUESTS = 50_000
MOST_BYTES = 190_000_000
# Seconds without a new request after which those that wait are sent.
QUIET = 0.5
# Seconds between looks at a batch: at first, and at most.
POLL = (1.0, 30.0)
CREATE_ATTEMPTS = 4
# The metadata field that carries our name of a batch, and how many batches are looked through for
# it.
MARK = "potstill"
MOST_LISTED = 2000
_ENDED = {"completed", "expired", "cancelled", "failed"}
# Reasons for which a whole batch is turned down and may be sent again later.
_FULL = {"token_limit_exceeded", "rate_limit_exceeded"}


class Batch(Teacher):
    """One model of one OpenAI-compatible endpoint, asked in batches.

    Args:
        model: the provider's name of the model.
        settings: `folder` is where batches under way are noted; without one a crash forgets them.
    """

    family = "openai"

    def __init__(self, model: str, settings: Settings) -> None:
        self.model = model
        self._settings = settings
        self._target = target(model, settings)
        self._log = BatchLog(settings.folder)
        self._inherited: Sequence[Pending] = ()
        self._futures: dict[str, asyncio.Future[Reply]] = {}
        self._asked: dict[str, Request] = {}
        self._sent: dict[str, Fields] = {}
        # Requests that have left their batch for another one.
        self._moved: set[str] = set()
        self._adapter = Adapter(
            model,
            self._target.base,
            settings.folder,
            self.say,
            streams=False,
        )
        self._unclaimed: dict[str, Reply] = {}
        self._queue: dict[str, bytes] = {}
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetched: list[str] = []
        self._closing = self._cancels = False
        self._client: Any = None

    def __repr__(self) -> str:
        return f"Batch({self.model!r}, {self._target.base!r})"

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return self._target.base

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take."""
        return self._adapter.noted

    def _open(self) -> Any:
        """The SDK's client; with the first one, every batch that an earlier run left behind is
        followed.
        """
        if self._client is None:
            import openai  # noqa: PLC0415 - 2 s of CPU

            goal = self._target
            self._client = openai.AsyncOpenAI(
                api_key=goal.key or "none",
                base_url=goal.base,
                default_headers=dict(goal.headers),
                default_query=dict(parse_qsl(goal.query)),
                max_retries=5,
                timeout=self._settings.timeout,
            )
            for batch in self._inherited:
                self._expect(batch)
        return self._client

    async def ask(self, request: Request) -> Reply:
        """One reply, hours later perhaps."""
        self._open()
        key = request.key()
        if key in self._unclaimed:
            return self._unclaimed.pop(key)
        if self._closing:
            raise _under_way()
        if key not in self._futures:
            self._enqueue(key, request)
        self._asked[key] = request
        return await self._futures[key]

    def _enqueue(self, key: str, request: Request) -> None:
        said = told_to_think(request.body(), "")
        body = self._adapter.fit(said, request.schema)
        if self._adapter.rules or request.sampling.thinks:
            self._sent[key] = body
        line = canonical_json(
            {
                "custom_id": key,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
        )
        if (
            len(self._queue) >= MOST_REQUESTS
            or self._bytes + len(line) > MOST_BYTES
        ):
            self._send()
        self._futures.setdefault(
            key, asyncio.get_running_loop().create_future()
        )
        self._queue[key] = line
        self._bytes += len(line) + 1
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET, self._send)

    def _send(self) -> None:
        """Everything that waits goes out as one batch."""
        if self._queue:
            lines = self._queue
            self._queue = {}
            self._bytes = 0
            batch = Pending(
                uuid.uuid4().hex, list(lines), role=self._settings.role
            )
            self._start(batch, self._upload(batch, b"\n".join(lines.values())))

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
        try:
            id_ = await work
            ended = await self._wait(id_) if id_ else None
            if ended is not None:
                await self._collect(ended)
            self._fetched.append(batch.name)
            error = _missing(ended)
        except asyncio.CancelledError:
            error = _under_way()
        except Exception as caught:  # noqa: BLE001 - it is handed on
            error = (
                caught
                if isinstance(caught, TeacherError | Stopped)
                else self._translate(caught)
            )
        for key in batch.keys:
            if key in self._moved:
                self._moved.discard(key)
            else:
                self._settle(key, error)

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

    async def _upload(self, batch: Pending, content: bytes) -> str:
        """Notes the intent, sends the file, creates the batch; returns the provider's id."""
        client = self._open()
        self._log.intent(batch)
        file = await client.files.create(
            file=(f"{batch.name}.jsonl", content), purpose="batch"
        )
        id_ = await self._create(batch.name, file.id)
        self._log.created(batch.name, id_)
        return id_

    async def _create(self, name: str, file_id: str) -> str:
        """Creates a batch once: where the answer is lost, the provider's list says whether it
        exists.
        """
        import openai  # noqa: PLC0415 - as above

        client = self._open().with_options(max_retries=0)
        for attempt in range(CREATE_ATTEMPTS):
            try:
                made = await client.batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={MARK: name},
                )
            except (
                openai.APIConnectionError,
                openai.InternalServerError,
                openai.RateLimitError,
            ):
                await asyncio.sleep(POLL[0] * 2**attempt)
                if (batch_id := await self._find(name)) is not None:
                    return batch_id
                if attempt == CREATE_ATTEMPTS - 1:
                    raise
            else:
                return str(made.id)
        raise AssertionError("the last attempt returns or raises")

    async def _find(self, name: str) -> str | None:
        """The provider's id of the batch that carries our name."""
        seen = 0
        async for batch in self._open().batches.list(limit=100):
            seen += 1
            if (batch.metadata or {}).get(MARK) == name:
                return str(batch.id)
            if seen >= MOST_LISTED:
                break
        return None

    async def _adopt(self, batch: Pending) -> str | None:
        """The id of an earlier run's batch; None where the crash came before it was created."""
        import openai  # noqa: PLC0415 - as above

        id_ = batch.id or await self._find(batch.name)
        if id_ and not batch.id:
            self._log.created(batch.name, id_)
        if id_ and self._cancels:
            with contextlib.suppress(
                openai.BadRequestError, openai.ConflictError
            ):  # it has ended already
                await self._open().batches.cancel(id_)
        return id_

    async def _wait(self, id_: str) -> Any:
        """The batch, once it has ended."""
        pause = POLL[0]
        while (
            batch := await self._open().batches.retrieve(id_)
        ).status not in _ENDED:
            await asyncio.sleep(pause)
            pause = min(POLL[1], 1.5 * pause)
        return batch

    async def _collect(self, batch: Any) -> None:
        """Every reply and every error in the batch's files."""
        for file_id in filter(
            None, (batch.output_file_id, batch.error_file_id)
        ):
            content = await self._open().files.content(file_id)
            for line in content.content.splitlines():
                if line.strip():
                    key, outcome = self._read(line)
                    if outcome is None:
                        self._moved.add(key)
                        self._enqueue(key, self._asked[key])
                    else:
                        self._settle(key, outcome)

    def _read(self, line: bytes) -> tuple[str, Reply | Exception | None]:
        """(key, outcome) of one line of an output or error file; None where it is asked again as
        the model takes it.
        """
        record, _ = load_reply(line)
        response = record.get("response") or {}
        key = str(record.get("custom_id"))
        body = response.get("body")
        try:
            if response.get("status_code") == 200:
                return key, self._reply(key, canonical_json(body))
            if response:
                return key, self._refusal(
                    key,
                    int(response.get("status_code") or 500),
                    canonical_json(body),
                )
        except (TeacherError, Stopped) as error:
            return key, error
        code = str((record.get("error") or {}).get("code") or "batch_error")
        return key, _expired() if code in (
            "batch_expired",
            "batch_cancelled",
        ) else TeacherBusy(code)

    def _reply(self, key: str, body: bytes) -> Reply:
        value, raw = load_reply(self._target.redact.raw(body))
        failure = failure_in(value)
        if failure is not None:
            raise error_of(failure, {}, self._scrub)
        request = self._asked.get(key)
        if request and self._adapter.mend(value, request):
            raw = canonical_json(value)
        return Reply(raw, read_chat(value))

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
        return error_of(problem, {}, self._scrub)

    def _scrub(self, text: str) -> str:
        return self._target.redact(text)[:300]

    def _translate(self, error: Exception) -> Stopped:
        """The SDK has tried again already: what remains ends the run, which can be resumed."""
        status = getattr(error, "status_code", None)
        kind = {401: "key", 403: "key", 404: "batch", 429: "rate_limit"}.get(
            status or 0, "provider"
        )
        return Stopped(kind, self._scrub(f"{type(error).__name__}: {error}"))

    def hurry(self) -> None:
        """Batches go on at the provider; the run stops waiting for them."""
        self._closing, unsent, self._queue = True, list(self._queue), {}
        for task in self._tasks:
            task.cancel()
        for key in unsent:
            self._settle(
                key,
                TeacherRefused(
                    "not_sent", "the run ended before its batch was sent"
                ),
            )

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
        if self._client is not None:
            await self._client.close()
            self._client = None


def _under_way() -> TeacherRefused:
    return TeacherRefused(
        "under_way",
        "its batch is still under way; the same command collects it",
    )


def _expired() -> TeacherRefused:
    return TeacherRefused(
        "expired",
        "its batch ended first; the same command asks again, without --batch online",
    )


def _missing(batch: Any) -> TeacherError | Stopped:
    """What becomes of requests that no file of an ended batch names."""
    if batch is None or batch.status == "completed":
        return TeacherBusy(
            "not_in_batch", "the batch came back without this request"
        )
    if batch.status != "failed":
        return _expired()
    first = next(
        iter((batch.errors.data if batch.errors else None) or []), None
    )
    code = getattr(first, "code", None) or "batch_failed"
    message = getattr(first, "message", None) or "no reason given"
    if code in _FULL:
        return TeacherBusy(code, message, retry_after=POLL[1], limited=True)
    return Stopped("batch", f"{code}: {message}")
