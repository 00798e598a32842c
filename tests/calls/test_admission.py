"""The gate against a server that really enforces limits, on a clock that runs as fast as the test."""

from __future__ import annotations

import asyncio
import random

import pytest

from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door
from synth.calls.journal import Journal
from synth.core.errors import TeacherBusy
from synth.core.records import Request, Sampling
from synth.teachers.base import Limits, Teacher, chat_reply
from tests.conftest import rest_long


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer: an hour of waiting takes no time."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


@pytest.fixture
def loop(monkeypatch):
    fast = FastLoop()
    monkeypatch.setattr("time.monotonic", lambda: fast.now)
    yield fast
    fast.close()


class Limited(Teacher):
    """Refuses what exceeds its limits, and notes who comes before the time it was told."""

    model, family = "l", "test"

    def __init__(
        self,
        loop,
        *,
        per_second=None,
        window=1.0,
        concurrent=None,
        tokens=None,
        say=True,
        announce=False,
        latency=0.1,
    ):
        (
            self.loop,
            self.per_second,
            self.window,
            self.concurrent,
            self.tokens,
        ) = loop, per_second, window, concurrent, tokens
        self.say, self.announce, self.latency = say, announce, latency
        self.flying, self.open_at, self.early, self.log, self.rng = (
            0,
            0.0,
            0,
            [],
            random.Random(0),
        )
        self.start, self.used, self.spent = loop.time(), 0, 0

    async def ask(self, request):
        now = self.loop.time()
        self.early += now < self.open_at - 1e-6
        if now - self.start >= self.window:
            self.start, self.used, self.spent = (
                now - (now - self.start) % self.window,
                0,
                0,
            )
        over_rate = (
            self.per_second is not None
            and self.used >= self.per_second * self.window
        )
        over_tokens = (
            self.tokens is not None and self.spent >= self.tokens * self.window
        )
        if (
            over_rate
            or over_tokens
            or (self.concurrent is not None and self.flying >= self.concurrent)
        ):
            self.log.append((now, False))
            left = (
                self.start + self.window - now
                if over_rate or over_tokens
                else 0.05
            )
            if self.say:
                self.open_at = now + left
            raise TeacherBusy(
                "rate_limit",
                retry_after=left if self.say else None,
                limited=True,
            )
        self.used += 1
        self.spent += 150
        self.flying += 1
        self.log.append((now, True))
        await asyncio.sleep(self.latency * self.rng.uniform(0.7, 1.5))
        self.flying -= 1
        limits = (
            Limits(
                self.per_second * 60 if self.per_second else None,
                self.tokens * 60 if self.tokens else None,
            )
            if self.announce
            else None
        )
        return chat_reply(
            "x", prompt_tokens=50, completion_tokens=100
        )._replace(limits=limits)


def drive(loop, teacher, seconds, gate):
    """Asks for so many seconds; returns (share refused, rate) after the first ten."""
    asyncio.set_event_loop(loop)
    first = loop.time()

    async def work():
        door = Door(
            teacher, Journal(None), gate=gate, budget=Budget(None), patience=1e9
        )
        count = iter(range(10**9))

        async def worker():
            while loop.time() < first + seconds:
                text = f"{next(count)} " + "x" * 195
                await door.ask(
                    Request(
                        model="l",
                        messages=({"role": "user", "content": text},),
                        sampling=Sampling(max_tokens=100),
                    )
                )

        await asyncio.gather(*(worker() for _ in range(2 * gate.most)))

    loop.run_until_complete(work())
    later = [
        ok for when, ok in teacher.log if first + 10 <= when < first + seconds
    ]
    return later.count(False) / len(later), later.count(True) / (seconds - 10)


@pytest.mark.parametrize("announce", rest_long([True, False]))
@pytest.mark.parametrize("say", [True, False])
@pytest.mark.parametrize(
    "rate",
    [
        5,
        pytest.param(20, marks=pytest.mark.long),
        pytest.param(100, marks=pytest.mark.long),
    ],
)
def test_a_limit_on_requests_is_used_and_hardly_ever_met(
    loop, rate, say, announce
):
    teacher = Limited(loop, per_second=rate, say=say, announce=announce)
    refused, used = drive(loop, teacher, 130, Gate(64))
    assert teacher.early == 0
    assert refused < 0.01, (refused, used)
    assert used >= 0.9 * rate, (refused, used)


def test_a_quota_by_the_minute(loop):
    teacher = Limited(loop, per_second=10, window=60.0)
    refused, _ = drive(loop, teacher, 180, Gate(64))
    used = (
        sum(ok for _, ok in teacher.log) / 180
    )  # the first minute's quota is used up in its first seconds
    assert teacher.early == 0
    assert refused < 0.01, (refused, used)
    assert used >= 0.9 * 10, (refused, used)


@pytest.mark.parametrize("most", rest_long([4, 12]))
def test_a_limit_on_calls_in_flight(loop, most):
    teacher = Limited(loop, concurrent=most)
    refused, used = drive(loop, teacher, 130, Gate(64))
    assert teacher.early == 0
    assert refused < 0.01, (refused, used)
    assert used >= 0.8 * most / 0.11, (refused, used)


@pytest.mark.parametrize("announce", rest_long([False, True]))
def test_a_limit_on_tokens(loop, announce):
    teacher = Limited(loop, tokens=3000, announce=announce)
    refused, used = drive(loop, teacher, 70, Gate(64))
    assert teacher.early == 0
    assert refused < 0.01, (refused, used)
    assert used >= 0.9 * 3000 / 150, (refused, used)


def test_the_users_own_limits_hold(loop):
    for gate in (Gate(64, rpm=300), Gate(64, tpm=300 * 150)):
        teacher = Limited(loop, per_second=1000, announce=True)
        refused, used = drive(loop, teacher, 70, gate)
        assert refused == 0
        assert 0.9 * 5 <= used <= 5


def test_without_limits_the_gate_opens_to_the_users_concurrency(loop):
    gate = Gate(64)
    teacher = Limited(loop)
    drive(loop, teacher, 15, gate)
    assert gate.limit == 64


class Noisy(Teacher):
    """Refuses a share of the calls, whatever the load."""

    model, family = "l", "test"

    def __init__(self, loop, share, until=1e9, wait=None):
        self.loop, self.share, self.end, self.log, self.rng = (
            loop,
            share,
            loop.time() + until,
            [],
            random.Random(1),
        )
        self.wait = wait

    async def ask(self, request):
        now = self.loop.time()
        fine = now >= self.end or self.rng.random() >= self.share
        self.log.append((now, fine))
        if not fine:
            raise TeacherBusy("rate_limit", retry_after=self.wait, limited=True)
        await asyncio.sleep(0.11 * self.rng.uniform(0.7, 1.3))
        return chat_reply("x", prompt_tokens=50, completion_tokens=100)


@pytest.mark.parametrize(
    ("share", "most"), rest_long([(0.01, 64), (0.02, 64), (0.01, 8)])
)
def test_refusals_at_any_load_cost_little(loop, share, most):
    gate = Gate(most)
    _, used = drive(loop, Noisy(loop, share), 20 if most > 8 else 100, gate)
    assert used >= 0.9 * most / 0.11, used
    assert (
        gate.requests.learned is None
        or gate.requests.learned > 0.9 * most / 0.11
    )


@pytest.mark.parametrize(
    ("share", "wait"), [(0.01, None), (0.02, None), (0.026, None), (0.02, 0.07)]
)
def test_single_refusals_cost_little_from_the_start(loop, share, wait):
    teacher = Noisy(loop, share, wait=wait)
    drive(loop, teacher, 40, Gate(8))
    assert sum(fine for _, fine in teacher.log) / 40 >= 0.9 * 8 / 0.11


def test_a_long_wait_holds_all_calls_where_refusals_come_at_any_load(loop):
    gate, teacher = Gate(8), Noisy(loop, 0.02)
    drive(loop, teacher, 40, gate)
    assert "at any load" in gate.word()
    gate.failed(
        TeacherBusy("rate_limit", retry_after=0.1, limited=True), loop.time()
    )
    assert "at any load" in gate.word()
    gate.failed(
        TeacherBusy("rate_limit", retry_after=5.0, limited=True), loop.time()
    )
    assert gate.word() == "the server asks to wait 5 s"


def test_what_an_outage_taught_is_forgotten_within_a_minute(loop):
    teacher = Noisy(loop, 1.0, until=30)
    drive(loop, teacher, 95, Gate(16))
    late = sum(ok for when, ok in teacher.log if when >= teacher.end + 55) / 10
    assert late >= 0.9 * 16 / 0.11
