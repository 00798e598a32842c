"""Distil or annotate: the curve is found, the ledger adds up, intervals hold the truth, the command advises."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.statistics.label_budget import Curve, Prices, advise, fit, read_pilot
from tests.cli.test_cli import synth as command
from tests.conftest import write

TRUE = {"annotate": Curve(2.0, 0.5, 0.05), "distil": Curve(2.0, 0.45, 0.12)}


def pilot(tested=2000, seed=0):
    rng = random.Random(seed)
    return {
        name: [
            (
                n,
                sum(rng.random() < curve.error(n) for _ in range(tested)),
                tested,
            )
            for n in (200, 800, 3200, 12800)
        ]
        for name, curve in TRUE.items()
    }


@given(st.floats(0.5, 2), st.floats(0.3, 1.2), st.floats(0, 0.3))
def test_a_curve_is_found_again(a, b, floor):
    sizes = (100, 400, 1600, 6400)
    true = Curve(a, b, floor)
    found = fit([(n, true.error(n)) for n in sizes])
    assert all(
        abs(found.error(n) - true.error(n)) < 0.05 for n in (*sizes, 25_600)
    )


def test_the_ledger_adds_up():
    prices = Prices(label=0.25, row=0.001, fixed=10, seed_labels=100)
    assert prices.rows("annotate", 110) == 400
    assert prices.rows("distil", 110) == pytest.approx(75_000)
    assert prices.rows("distil", 20) == 0


def test_cheap_rows_win_small_budgets_and_labels_large_ones():
    prices = Prices(label=0.05, row=0.0005)
    small, large = (advise(pilot(), prices, budget) for budget in (4, 2000))
    assert (small["better"], large["better"]) == ("distil", "annotate")
    assert small["sure"] > 0.9
    assert large["sure"] > 0.9
    low, high = advise(pilot(), prices, 20)["crossover_between"]

    def gap(dollars):
        return TRUE["annotate"].error(prices.rows("annotate", dollars)) - TRUE[
            "distil"
        ].error(prices.rows("distil", dollars))

    assert gap(low) > -0.01
    assert gap(high) < 0.01
    expected, least, most = small["errors"]["distil"]
    assert least <= expected <= most


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"strategy": "buy", "rows": 1, "wrong": 1, "tested": 1}],
        [{"strategy": "distil", "rows": 1, "wrong": 0, "tested": 9}] * 3,
    ],
)
def test_a_pilot_needs_three_sizes_of_both(rows):
    with pytest.raises(WrongUse, match="--pilot"):
        read_pilot(rows)


def test_the_command_advises(tmp_path):
    rows = [
        {"strategy": name, "rows": n, "wrong": wrong, "tested": tested}
        for name, points in pilot().items()
        for n, wrong, tested in points
    ]
    seeds, measured = (
        write(tmp_path / "q.jsonl", [{"question": "How many?"}] * 10),
        write(tmp_path / "pilot.jsonl", rows),
    )
    words = [
        "plan",
        "cot",
        "--input",
        seeds,
        "--teacher",
        "openai/m",
        "--price",
        "0.15,0.60",
        "--annotate",
        "0.05",
    ]
    code, said = command(*words, "--pilot", measured, "--budget", "4")
    assert code == 0
    assert "better: distil" in said
    assert "nearest budget at which that changes: $" in said
    assert command(*words)[0] == 2
