"""The side of a shard: a budget and gates that let out what is lent, and nothing without a lease."""

from __future__ import annotations

import asyncio

import pytest

from synth.calls import borrower as module
from synth.calls.admission import Gate
from synth.calls.borrower import Borrower, Facts
from synth.calls.budget import Budget
from synth.calls.lending import LEASE, Lease
from synth.calls.pace import MARGIN, Pace
from synth.core.errors import BudgetReached, Stopped, TeacherBusy
from tests.calls.test_admission import loop  # noqa: F401 - a fixture


class Now:
    """A clock that tests set."""

    def __init__(self, monkeypatch):
        self.time = 50.0
        monkeypatch.setattr(module, "clock", lambda: self.time)


def test_a_budget_waits_for_dollars_until_no_more_will_come():
    async def work():
        budget = Budget(0.0)
        budget.hopes = True
        asked = []
        budget.on_need = lambda: asked.append(budget.waiting())
        first = asyncio.ensure_future(budget.reserve(2.0))
        second = asyncio.ensure_future(budget.reserve(3.0))
        await asyncio.sleep(0)
        assert asked == [[2.0], [2.0, 3.0]]
        budget.lend(2.5, hopes=True)
        await first
        assert budget.waiting() == [3.0]
        assert budget.give_back(0.0) == 2.0, "what is reserved stays"
        budget.settle(2.0, 0.5)
        assert budget.give_back(0.0) == 0.5
        assert not second.done()
        budget.lend(0.5, hopes=False)
        with pytest.raises(BudgetReached):
            await second

    asyncio.run(work())


def test_a_share_bounds_a_pace_and_what_refusals_taught_stays():
    pace = Pace(600)
    assert pace.rate == pytest.approx(10 * MARGIN)
    pace.allot(150)
    assert pace.rate == pytest.approx(2.5 * MARGIN)
    pace.learn(2.0)
    pace.allot(60)
    assert pace.rate == pytest.approx(MARGIN)
    pace.allot(600)
    assert pace.rate == 2.0
    pace.announce(60)
    assert (pace.limit, pace.rate) == (60, pytest.approx(MARGIN))


def test_a_gate_lets_out_what_is_lent_to_it(loop):  # noqa: F811
    async def work():
        gate = Gate(8, rpm=60)
        gate.allot(0)
        calls = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(5)
        assert (gate.flying, gate.waiting) == (0, 3)
        gate.allot(2)
        await asyncio.sleep(0.01)
        # One is out; the other has a place and waits for its second.
        assert [call.done() for call in calls] == [True, False, False]
        assert (gate.flying, gate.waiting) == (2, 2)
        gate.allot(0)
        await asyncio.sleep(10)
        assert not calls[1].done(), "a place that was taken back lets none out"
        gate.allot(8)
        gate.close_for(5.0)
        assert gate.closed_for() == pytest.approx(5.0)
        await asyncio.sleep(4)
        assert not calls[1].done()
        await asyncio.sleep(5)
        assert all(call.done() for call in calls)

    loop.run_until_complete(work())


def test_without_a_lease_no_call_goes_out(monkeypatch):
    now = Now(monkeypatch)
    leases = []

    async def renew(report):
        if not leases:
            raise ConnectionError
        return leases.pop()

    async def work():
        monkeypatch.setattr(module, "EVERY", 0.01)
        borrower = Borrower(1, 1, renew)
        with pytest.raises(TeacherBusy, match="no_lease"):
            borrower.check()
        leases.append(Lease())
        ends = []
        async with borrower.lending(lambda: Facts(0), ends.append):
            await borrower.permit()
            borrower.check()
            now.time += LEASE + 0.01
            waits = asyncio.ensure_future(borrower.permit())
            await asyncio.sleep(0.05)
            assert not waits.done()
            leases.append(Lease())
            await asyncio.wait_for(waits, 5)
            now.time += module.LONGEST_ABSENCE + LEASE
            while not ends:
                await asyncio.sleep(0.01)
                now.time += module.LONGEST_ABSENCE
            with pytest.raises(Stopped, match="bank"):
                await borrower.permit()

    asyncio.run(work())


def test_a_lease_counts_from_the_question_and_not_from_the_answer(monkeypatch):
    now = Now(monkeypatch)

    async def slow(report):
        now.time += 1.0
        return Lease()

    async def work():
        borrower = Borrower(1, 1, slow)
        async with borrower.lending(lambda: Facts(0), lambda _: None):
            assert borrower.until - now.time == pytest.approx(LEASE - 1.0)

    asyncio.run(work())


def test_what_was_lent_goes_back_at_the_end(monkeypatch):
    reports = []

    async def renew(report):
        reports.append(report)
        return Lease(cap=report.cap + report.needs)

    async def work():
        borrower = Borrower(1, 1, renew)
        budget = borrower.lent_budget(100.0, 4.0)
        assert (budget.cap, budget.spent) == (4.0, 4.0)
        async with borrower.lending(lambda: Facts(7), lambda _: None):
            await budget.reserve(3.0)
            budget.settle(3.0, 1.0)

    asyncio.run(work())
    assert reports[0].cap == 4.0
    last = reports[-1]
    assert (last.ended, last.spent, last.cap, last.kept) == (True, 5.0, 5.0, 7)
