"""A budget that cannot pay all rows of many steps pays some of them to their end."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

import synth
from synth.calls.borrower import Borrower
from synth.calls.budget import Budget
from synth.calls.door import Stats
from synth.calls.lending import Lease
from synth.calls.price import Price
from synth.pipeline.in_flight import InFlight
from synth.pipeline.plan import Plan, StepPlan
from synth.pipeline.walker import Tally
from tests.conftest import chat, serving
from tests.pipeline.test_run import make_pack

STEPS = ("draft", "weigh", "mend", "say")
PACK = {
    "pack.yaml": "\n".join(
        [
            "name: four_steps",
            "version: 1",
            "about: Four questions a row.",
            "inputs: {text: text}",
            "steps:",
            *(
                f"  - {{name: {name}, sampling: {{max_tokens: 60}}, "
                f"parser: {{name: whole, into: {name}ed}}}}"
                for name in STEPS
            ),
            "exports:",
            '  sft: {prompt: "{{ text }}\\n", completion: "{{ sayed }}"}',
        ]
    ),
    **{f"{name}.user.j2": f"{name}: {{{{ text }}}}" for name in STEPS},
}
# Dollars of a reply of 7 tokens at $1,000 per million, and of a row.
CALL = 0.007
ROW = len(STEPS) * CALL


def ran(tmp_path, server, *, budget, rows=60, **options):
    folder = tmp_path / "pack"
    if not folder.exists():
        make_pack(folder, PACK)
    return synth.run(
        folder,
        [{"id": str(n), "text": f"text {n}"} for n in range(rows)],
        teacher="openai/m",
        api_base=server.url,
        price="0,1000",
        budget=budget,
        output=tmp_path / "out",
        **{"concurrency": 50, **options},
    )


def test_a_budget_for_a_few_rows_brings_them_to_their_end(tmp_path):
    # A call is reserved at 60 tokens, so that the last ones of a budget are refused.
    reserved = 0.06
    budget = 12 * ROW
    with serving(lambda body, _: chat("Some words.")) as server:
        run = ran(tmp_path, server, budget=budget)
        paid = len(server.bodies) * CALL
        # One row at most is left amid its steps, beside what the last call had to reserve.
        assert run.counts["kept"] * ROW >= budget - reserved - ROW
        assert paid <= budget
        more = ran(tmp_path, server, budget=None)
    assert more.counts["kept"] == 60
    assert len(server.bodies) == 60 * len(STEPS)


def test_without_a_bound_on_rows_the_same_budget_would_bring_none(
    tmp_path, monkeypatch
):
    """What the limit is for: all rows begin, and the dollars end amid them."""
    monkeypatch.setattr(InFlight, "_for_budget", lambda *_: inf)
    with serving(lambda body, _: chat("Some words.")) as server:
        run = ran(tmp_path, server, budget=12 * ROW)
    assert run.counts["kept"] < 3


@pytest.mark.parametrize("cheap", [1, 5, 9])
def test_prices_that_the_plan_cannot_know_are_learnt(tmp_path, cheap):
    """Replies a fraction as long as they may be: as many rows as the dollars buy, whatever is
    dropped on the way.
    """

    def answer(body, _):
        text = body["messages"][-1]["content"]
        usage = {"prompt_tokens": 11, "completion_tokens": cheap}
        # Every third row ends at its second step.
        ends = text.startswith("weigh") and int(text.split()[-1]) % 3 == 0
        return chat("" if ends else "Some words.", usage=usage)

    row = len(STEPS) * cheap / 1000
    with serving(answer) as server:
        run = ran(tmp_path, server, budget=20 * row + 0.06, rows=200)
        paid = len(server.bodies) * cheap / 1000
    assert paid <= 20 * row + 0.06
    # A dropped row costs two calls of four.
    assert run.counts["kept"] >= 15


def test_rows_that_were_answered_before_cost_nothing(tmp_path):
    with serving(lambda body, _: chat("Some words.")) as server:
        ran(tmp_path, server, budget=None, rows=30)
        paid = len(server.bodies) * CALL
        run = ran(tmp_path, server, budget=paid + 8 * ROW + 0.06, rows=60)
    assert run.counts["kept"] >= 30 + 7


def test_a_row_of_one_call_is_never_waited_for(tmp_path):
    plan = Plan("one", 100, ())
    most = InFlight(Tally(), Stats(), plan=plan, budget=Budget(1.0)).most()
    assert most == inf


def test_shards_share_what_none_of_them_has_spent():
    step = StepPlan(
        name="a",
        role="teacher",
        teacher="m",
        calls=200,
        prompt_tokens=0,
        error=0,
        completion_tokens=None,
        most=100,
        price=Price(0, 10_000),
        sure=True,
    )
    # A call is a dollar, a seed two of them.
    plan = Plan("two", 100, (step,))
    borrower = Borrower(0, 1, lambda _: asyncio.sleep(0))
    borrower.lent_budget(50.0, 0.0)
    how = {"plan": plan, "budget": borrower.budget, "borrower": borrower}
    in_flight = InFlight(Tally(), Stats(), **how)
    borrower.lease = Lease(cap=0.0, unspent=44.0, busy=2)
    assert in_flight.most() == (44 / 2 - 1) // 2
    borrower.lease = Lease(cap=0.0, unspent=0.5, busy=2)
    assert in_flight.most() == 1
