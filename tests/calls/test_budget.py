"""The cap: as a ledger under thousands of random loads, at the door, and in whole runs against a server that bills."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

import synth
from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.price import Price
from synth.core.errors import BudgetReached
from tests.calls.test_door import Scripted, make_door, request
from tests.conftest import chat, serving

CASES, AT_ONCE = 10_000, 256


async def load(rng: random.Random) -> None:
    """256 calls at once with random worst cases, costs, lengths, failures and cancellations; the ledger is checked at every step."""
    scale = 10 ** rng.uniform(-6, 2)
    budget = Budget(scale * rng.uniform(0, AT_ONCE / 2))
    bill = 0.0
    refused = []

    def check() -> None:
        assert (
            budget.spent + budget.reserved <= budget.cap * (1 + 1e-12) + 1e-12
        )
        assert bill <= budget.cap * (1 + 1e-12) + 1e-12

    async def call(turns: int, worst: float, share: float) -> None:
        nonlocal bill
        try:
            await budget.reserve(worst)
        except BudgetReached:
            refused.append((worst, budget.spent))
            return
        check()
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:  # a call that is cancelled in flight is billed all the same
            bill += worst * share
            budget.settle(worst, worst * share)
            check()

    draws = [
        (
            rng.randrange(3),
            scale * rng.random(),
            rng.choice((0.0, 1.0, rng.random())),
        )
        for _ in range(AT_ONCE)
    ]
    tasks = [asyncio.ensure_future(call(*draw)) for draw in draws]
    await asyncio.sleep(0)
    for task in rng.sample(tasks, rng.choice((0, 0, 5))):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [
        t.exception() for t in tasks if not t.cancelled() and t.exception()
    ] == []
    assert budget.spent == pytest.approx(bill)
    assert budget.reserved == 0
    assert all(
        spent + worst > budget.cap * (1 - 1e-9) for worst, spent in refused
    )


@pytest.mark.parametrize(
    "cases", [CASES // 40, pytest.param(CASES, marks=pytest.mark.long)]
)
def test_the_ledger_never_crosses_the_cap_in_loads_of_256_calls(cases):
    async def work() -> None:
        for case in range(cases):
            await load(random.Random(case))

    asyncio.run(work())


def test_a_reservation_that_is_cancelled_comes_back():
    async def work() -> None:
        budget = Budget(1.0)
        await budget.reserve(0.8)
        second = asyncio.ensure_future(budget.reserve(0.8))
        await asyncio.sleep(0)
        budget.settle(0.8, 0.1)  # grants the second
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert budget.reserved == pytest.approx(0)
        await budget.reserve(0.9)

    asyncio.run(work())


@settings(max_examples=40, deadline=None)
@given(
    cap=st.floats(0, 0.02), low=st.floats(0, 200), high=st.floats(0, 200), seconds=st.lists(st.floats(0, 0.002), min_size=30, max_size=30),
)  # fmt: skip
def test_the_door_keeps_to_the_cap(cap, low, high, seconds):
    budget, price = Budget(cap), Price(low, high)

    async def work():
        doors = [
            make_door(
                Scripted(seconds=s), budget=budget, price=price, gate=Gate(64)
            )
            for s in seconds
        ]

        async def one(n, door):
            try:
                await door.ask(request(n))
            except BudgetReached:
                return False
            finally:
                assert budget.spent + budget.reserved <= cap + 1e-12
            return True

        return await asyncio.gather(
            *(one(n, door) for n, door in enumerate(doors))
        )

    done = sum(asyncio.run(work()))
    worst, cost = price.worst(request(10)), (10 * low + 10 * high) / 1e6
    assert budget.spent == pytest.approx(done * cost)
    assert done == 30 or budget.spent + worst > cap - 1e-12


@pytest.mark.parametrize(
    "case",
    [
        *range(4),
        *(pytest.param(case, marks=pytest.mark.long) for case in range(4, 20)),
    ],
)
def test_a_run_stops_below_its_budget_and_within_one_call_of_it(case, tmp_path):
    """A server that bills random tokens, fails now and then after billing, and takes random times."""
    rng = random.Random(case)
    low, high, most = (
        rng.uniform(0.1, 20),
        rng.uniform(0.1, 60),
        rng.choice((20, 200)),
    )
    billed: list[float] = []

    async def answer(body, count):
        await asyncio.sleep(rng.random() * 0.02)
        sent, said = rng.randrange(40, 120), rng.randrange(1, most + 1)
        billed.append((sent * low + said * high) / 1e6)
        if rng.random() < 0.03:
            return web.Response(
                text='{"choices": ['
            )  # billed, and nothing to show for it
        return chat(
            f"It is so.\n#### {count}",
            usage={"prompt_tokens": sent, "completion_tokens": said},
        )

    rows = [{"question": f"What is {n} + 1 ?"} for n in range(400)]
    with serving(answer) as server:
        budget = (80 * low + most * high) / 1e6 * rng.uniform(2, 300)
        done = synth.run(
            "cot", rows, teacher="openai/m", output=tmp_path, api_base=server.url, budget=budget, price=f"{low},{high}",
            overrides={"rationale.sampling.max_tokens": most}, concurrency=rng.choice((1, 8, 64)),
        )  # fmt: skip
    worst = (600 * low + most * high) / 1e6
    assert sum(billed) <= budget
    assert done.info["cost"]["usd"] <= budget
    if done.exit_code == 4:
        assert budget - done.info["cost"]["usd"] <= max(0.03 * budget, worst)
    else:
        assert done.counts["kept"] + sum(done.counts["failed"].values()) == 400
