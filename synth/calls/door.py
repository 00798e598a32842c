"""The door: one call from key to journaled reply."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import tenacity

from synth.calls.admission import Gate
from synth.calls.advice import advice
from synth.calls.budget import UNKNOWN_FATE, Budget
from synth.calls.functions import Functions
from synth.calls.journal import Journal
from synth.calls.price import FREE, Price
from synth.calls.spans import Spans
from synth.calls.token_counter import rough_prompt_tokens
from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherError,
    WrongUse,
    did_you_mean,
)
from synth.core.records import Completion, Request
from synth.teachers.base import Reply, Teacher
from synth.teachers.wire.replies import load_reply, read_chat

# A run whose first calls all end like this is aimed wrong: asking the rest would fail the rest.
HOPELESS = 20
# Failures that say nothing about a teacher: its recordings end, or the run does.
EXPECTED = {
    "not_recorded",
    "not_rehearsed",
    "not_sent",
    "under_way",
    "interrupted",
    "no_lease",
}


@dataclass
class Stats:
    """Calls of this run: asked of a teacher, reused from the journal, asked again, failed by class,
    in flight; their cost.
    """

    asked: int = 0
    reused: int = 0
    retried: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    steps: dict[str, list[int]] = field(default_factory=dict)
    flying: int = 0
    tokens: int = 0
    usd: float = 0.0
    last_error: str = ""
    gates: list[Gate] = field(default_factory=list)
    on_fault: Callable[[Request, TeacherError], None] | None = None

    def shown(self) -> Stats:
        """A copy of what a panel shows, which another process can read."""
        return replace(self, gates=[], on_fault=None, steps={})

    def join(self, other: Stats) -> None:
        """Counts all that other calls brought."""
        for name in ("asked", "reused", "retried", "flying", "tokens", "usd"):
            both = getattr(self, name) + getattr(other, name)
            setattr(self, name, both)
        self.failed.update(other.failed)
        self.last_error = other.last_error or self.last_error

    def fault(self, request: Request, error: TeacherError) -> None:
        """Notes a call that brought no reply, whether or not it is asked again."""
        self.last_error = str(error)
        if self.on_fault:
            self.on_fault(request, error)

    def count(self, step: str, completion: Completion) -> None:
        """Counts a reply, asked or reused, for its step: replies, tokens in, tokens out."""
        sums = self.steps.setdefault(step, [0, 0, 0])
        sums[0] += 1
        sums[1] += completion.prompt_tokens
        sums[2] += completion.completion_tokens


class Door:
    """One teacher behind a gate, a journal and a budget.

    Args:
        attempts: calls for one request at most; a rate limit (429) uses up none.
        patience: seconds for one request at most, from its first fault on, waiting included.
        permit: is waited for right before each call.
        by_slots: no more calls are in flight than the server says that it works on at once.
        spans: are told of every call.
    """

    def __init__(
        self,
        teacher: Teacher,
        journal: Journal,
        *,
        gate: Gate,
        budget: Budget,
        price: Price = FREE,
        attempts: int = 6,
        patience: float = 300.0,
        stats: Stats | None = None,
        permit: Callable[[], Awaitable[None]] | None = None,
        by_slots: bool = False,
        spans: Spans | None = None,
    ) -> None:
        self.teacher = teacher
        self.journal = journal
        self.gate = gate
        self.budget = budget
        self.price = price
        self.attempts = attempts
        self.patience = patience
        self.permit = permit
        self.stats = stats or Stats()
        self.stats.gates.append(gate)
        self.spans = spans
        self.closing = False
        self._by_slots = by_slots
        self._flying: dict[str, asyncio.Future[Completion]] = {}

    async def ask(self, request: Request) -> tuple[str, Completion]:
        """(key, completion) of a request: from the journal, from a twin in flight, or from the
        teacher.

        Raises:
            TeacherError: the request failed, after retries where they make sense.
            Stopped, BudgetReached: the run is over.
        """
        key = request.key()
        raw = self.journal.get(key)
        if raw is None and self.journal.others:
            raw = await self.journal.borrowed(key)
        if raw is not None:
            self.stats.reused += 1
            completion = read_chat(load_reply(raw)[0])
        elif (twin := self._flying.get(key)) is not None:
            self.stats.reused += 1
            completion = await asyncio.shield(twin)
        else:
            completion = await self._lead(key, request)
        self.stats.count(request.step, completion)
        return key, completion

    async def _lead(self, key: str, request: Request) -> Completion:
        """Asks on behalf of every twin that arrives meanwhile."""
        future: asyncio.Future[Completion] = (
            asyncio.get_running_loop().create_future()
        )
        self._flying[key] = future
        try:
            completion = await self._paid(key, request)
        except BaseException as error:
            future.set_exception(
                error
                if isinstance(error, Exception)
                else TeacherBusy("interrupted")
            )
            future.exception()  # a twin may or may not be there to see it
            raise
        finally:
            del self._flying[key]
        future.set_result(completion)
        return completion

    async def _paid(self, key: str, request: Request) -> Completion:
        try:
            # the first try goes straight through; only a busy teacher brings in the machinery of
            # retries
            try:
                return await self._once(key, request)
            except TeacherBusy as busy:
                return await self._again(key, request, busy)
        except TeacherError as error:
            self.stats.failed[error.kind] += 1
            if (
                self.stats.failed[error.kind] == 1
                and error.kind not in EXPECTED
            ):
                self.teacher.say(f"first failure of its class: {error}")
            self._lose_hope(error)
            raise

    async def _again(
        self, key: str, request: Request, busy: TeacherBusy
    ) -> Completion:
        pause = (
            0.0
            if busy.at_once
            else random.uniform(0.1, 0.6) + (busy.retry_after or 0.0)
        )
        if pause > self.patience:
            raise busy
        tries = _Tries(
            self.attempts, used=0 if busy.limited or busy.at_once else 1
        )
        deadline = time.monotonic() + self.patience
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TeacherBusy),
            stop=lambda state: (
                self.closing
                or tries.spent()
                or time.monotonic() + state.upcoming_sleep > deadline
            ),
            wait=_pause,
            after=tries.count,
            reraise=True,
            sleep=self.gate.rest,
        )
        await self.gate.rest(pause)
        async for attempt in retrying:
            with attempt:
                self.stats.retried += 1
                return await self._once(key, request)
        raise busy

    async def _bound(self) -> None:
        """Holds the gate to the slots of the server, once it says how many it has."""
        capacity = await self.teacher.capacity()
        # A server that was not there yet is asked again before the next call.
        self._by_slots = not capacity.is_there
        if capacity.slots is not None:
            self.gate.bound(min(capacity.slots, self.gate.most))

    async def _once(self, key: str, request: Request) -> Completion:
        """One call, and its reply on the disk."""
        if self._by_slots:
            await self._bound()
        expected = self._expected(request) if self.gate.tokens.rate else 0.0
        sent = await self.gate.enter(expected)
        try:
            reply, cost = await (
                self._unbilled(request)
                if self.budget.cap is None
                else self._billed(key, request)
            )
        except BaseException as error:
            self.gate.failed(error, sent, expected)
            if (
                isinstance(error, TeacherBusy)
                and (error.retry_after or 0) > self.patience
            ):
                end = Stopped(
                    error.kind,
                    f"the server asks to wait {error.retry_after:,.0f} s; run the same command "
                    "then",
                )
                self.gate.shut(end)
                raise end from error
            raise
        completion = reply.completion
        # The reply is taken before its slot is free: a process that is killed never has more calls
        # in flight, or come back and not written, than it has slots.
        self.journal.add(key, reply.raw, completion, cost)
        self.gate.succeeded(
            sent,
            reply.limits,
            completion.prompt_tokens + completion.completion_tokens,
            expected,
        )
        await self.journal.on_disk()
        return completion

    def _expected(self, request: Request) -> float:
        """Tokens that a call will take: its text at four bytes a token, and the mean length of
        replies so far.
        """
        totals = self.journal.totals
        reply_tokens = (
            totals.completion_tokens / totals.replies
            if totals.replies
            else (request.sampling.max_tokens or 256)
        )
        return rough_prompt_tokens(request) + reply_tokens

    async def _unbilled(self, request: Request) -> tuple[Reply, float]:
        stats = self.stats
        if self.permit is not None:
            await self.permit()
        stats.asked += 1
        stats.flying += 1
        try:
            reply = await (
                self.teacher.ask(request)
                if self.spans is None
                else self._seen(request, self.spans)
            )
        except TeacherError as error:
            stats.fault(request, error)
            raise
        finally:
            stats.flying -= 1
        completion = reply.completion
        cost = self.price.cost(reply.completion)
        stats.tokens += completion.prompt_tokens + completion.completion_tokens
        stats.usd += cost
        return reply, cost

    async def _seen(self, request: Request, spans: Spans) -> Reply:
        with spans.call(request) as span:
            reply = await self.teacher.ask(request)
            span.replied(reply.completion)
        return reply

    async def _billed(self, key: str, request: Request) -> tuple[Reply, float]:
        """A call under a cap: its worst case is set aside before it and settled after it, whatever
        comes.
        """
        worst = cost = self.price.worst(request)
        await self.budget.reserve(worst)
        self.journal.intend(key, worst)
        try:
            # The intent is written at the end of this turn of the loop, before the call.
            await asyncio.sleep(0)
            reply, billed = await self._unbilled(request)
            # A reply without usage may have cost anything up to the worst case.
            cost = billed if _has_usage(reply.completion) else worst
        except BaseException as error:
            is_unbilled = (
                isinstance(error, TeacherError | Stopped)
                and error.kind not in UNKNOWN_FATE
            )
            cost = 0.0 if is_unbilled else worst
            self.journal.no_reply(key, cost)
            raise
        finally:
            self.budget.settle(worst, cost)
        return reply, cost

    def _lose_hope(self, error: TeacherError) -> None:
        """Stops a run of which nothing has come back and everything failed."""
        failed = sum(self.stats.failed.values())
        if (
            failed >= HOPELESS
            and not self.closing
            and not self.journal.totals.replies
            and error.kind != "not_recorded"
        ):
            raise Stopped(
                error.kind,
                f"the first {failed} requests all failed; the last one: {error}. "
                f"{advice(error.kind).rstrip('.')}",
            ) from error


def _has_usage(completion: Completion) -> bool:
    """Whether a reply says how many tokens it took, in and out."""
    silent = completion.text and not completion.completion_tokens
    return completion.prompt_tokens > 0 and not silent


_SLOW = tenacity.wait_random_exponential(multiplier=0.5, max=30)
_SOON = tenacity.wait_random(0.05, 0.3)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: growing for faults; short after a rate limit, where the gate
    does the waiting.
    """
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, TeacherBusy) or not error.limited:
        return float(_SLOW(state))
    return float(_SOON(state)) + (error.retry_after or 0.0)


class _Tries:
    """Counts attempts; a rate limit uses up none."""

    def __init__(self, most: int, used: int) -> None:
        self.most = most
        self.used = used

    def spent(self) -> bool:
        return self.used >= self.most

    def count(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.used += (
            0 if isinstance(error, TeacherBusy) and error.limited else 1
        )


class Doors:
    """The doors of a run by role (`teacher`, `critic`, ...)."""

    def __init__(
        self, doors: Mapping[str, Door], journal: Journal, budget: Budget
    ) -> None:
        self.doors = dict(doors)
        self.journal = journal
        self.budget = budget
        self.functions = Functions(journal)

    def door(self, role: str) -> Door:
        """The door of a role.

        Raises:
            WrongUse: no teacher was given for the role.
        """
        if role not in self.doors:
            todo = f"Add --teacher {role}=PROVIDER/MODEL. {did_you_mean(role, self.doors)}"
            raise WrongUse(
                "--teacher",
                f"none for the role {role!r}",
                "one teacher per role of the pack",
                todo,
            )
        return self.doors[role]

    def hurry(self) -> None:
        """From now on no call goes out, and who waits for one stops waiting; what is in flight may
        come back.
        """
        for door in self.doors.values():
            door.closing = True
            door.gate.shut(
                Stopped("ended", "the run ends; nothing more is asked")
            )
            door.teacher.hurry()

    async def keep_all(self) -> None:
        """Journals what the teachers brought without being asked in this run."""
        for door in self.doors.values():
            await self.keep(door.teacher, door.price)

    async def keep(self, teacher: Teacher, price: Price) -> None:
        """The same for one teacher, whose batches may bring more meanwhile."""
        brought = teacher.leftovers()
        while brought:
            key, reply = brought.popitem()
            if self.journal.get(key) is None:
                await self.journal.append(
                    key,
                    reply.raw,
                    reply.completion,
                    price.cost(reply.completion),
                )

    async def close(self) -> None:
        """Closes every teacher, then the journal; replies that nobody asked for are kept too."""
        for door in self.doors.values():
            # Nothing comes in between: a batch that is through is noted as done by the second.
            await self.keep(door.teacher, door.price)
            await door.teacher.close()
        await self.functions.close()
        await self.journal.close()
