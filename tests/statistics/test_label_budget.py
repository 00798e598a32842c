"""Distil or annotate: the curve is found, the ledger adds up, intervals hold the truth, the command advises."""

from __future__ import annotations

import random

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.statistics import label_budget
from synth.statistics.label_budget import (
    STRATEGIES,
    Curve,
    Prices,
    advise,
    describe,
    fit,
    read_pilot,
)
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


@pytest.mark.long
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


def pilot_rows(**other):
    """Six rows of a pilot, the first of which differs."""
    rows = [
        {"strategy": name, "rows": size, "wrong": 60, "tested": 300}
        for name in ("annotate", "distil")
        for size in (100, 400, 1600)
    ]
    rows[0] |= other
    return rows


@pytest.mark.parametrize(
    "other",
    [
        {"rows": 0},
        {"rows": -5},
        {"tested": 0, "wrong": 0},
        {"tested": 50},
        {"wrong": -1},
        {"wrong": "many"},
        {"wrong": None},
        {"wrong": [1]},
        {"strategy": None},
        {"strategy": "Distil"},
    ],
)
def test_a_figure_that_no_pilot_has_is_refused_with_its_row(other):
    with pytest.raises(WrongUse) as error:
        read_pilot(pilot_rows(**other))
    said = str(error.value)
    assert said.startswith("--pilot row 1: found {'strategy'")
    assert '"tested": 300' in said
    assert "annotate or distil" in said


def test_three_sizes_are_three_different_ones():
    rows = [row | {"rows": 100} for row in pilot_rows()]
    with pytest.raises(WrongUse, match="3 points of annotate"):
        read_pilot(rows)
    assert read_pilot(pilot_rows(wrong="60"))["annotate"][0] == (100, 60, 300)


@given(
    st.floats(0.2, 0.9),
    st.sampled_from([0.1, 0.35, 0.7, 1.2]),
    st.floats(0, 0.1),
)
def test_no_curve_of_scipy_is_much_nearer(a, b, floor):
    sizes = np.array([50.0, 200.0, 800.0, 3200.0])
    noise = np.array([0.01, -0.01, 0.005, -0.004])
    errors = np.clip(a * sizes**-b + floor + noise, 0.001, 1)
    points = list(zip(sizes.tolist(), errors.tolist(), strict=True))
    curve = fit(points)

    def bounded(rows, a, b, floor):
        return np.minimum(1, a * rows**-b + floor)

    best, _ = scipy.optimize.curve_fit(
        bounded,
        sizes,
        errors,
        p0=[curve.a + 1e-6, curve.b, max(curve.floor, 1e-6)],
        bounds=([0, 0.05, 0], [50, 1.5, errors.min() + 1e-6]),
        maxfev=20_000,
    )
    found = sum((curve.error(size) - error) ** 2 for size, error in points)
    wanted = float(np.sum((bounded(sizes, *best) - errors) ** 2))
    assert found <= wanted + 2e-3


@given(st.floats(0, 5), st.floats(0.05, 1.5), st.floats(0, 1))
def test_more_rows_never_bring_more_errors(a, b, floor):
    curve = Curve(a, b, floor)
    errors = [curve.error(rows) for rows in (0, 0.5, 1, 10, 10**4, 10**9)]
    assert errors == sorted(errors, reverse=True)
    assert all(0 <= error <= 1 for error in errors)
    assert errors[0] == errors[2]


@given(
    st.floats(0.01, 5), st.floats(1e-5, 1), st.floats(0, 50), st.integers(0, 99)
)
def test_a_larger_budget_buys_no_less(label, row, fixed, seed_labels):
    prices = Prices(label=label, row=row, fixed=fixed, seed_labels=seed_labels)
    for name in STRATEGIES:
        bought = [prices.rows(name, dollars) for dollars in (0, 1, 60, 999)]
        assert bought == sorted(bought)
        assert bought[0] == 0
    spent = prices.rows("annotate", 999) * label
    assert spent == pytest.approx(999 - fixed)


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(label_budget, "RESAMPLES", 20)


@pytest.mark.usefixtures("few_resamples")
def test_advice_is_the_same_again_and_changes_with_its_seed():
    prices = Prices(label=0.05, row=0.0005)
    first, again, other = (
        advise(pilot(60), prices, 20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first["errors"] != other["errors"]
    for name in STRATEGIES:
        expected, low, high = first["errors"][name]
        assert low <= high
        assert expected == other["errors"][name][0]


@pytest.mark.parametrize(
    ("crossover", "between", "says"),
    [
        (None, None, "no other budget from a tenth to ten times"),
        (1234.5, (1000.0, 2000.0), "$1,234.50 (90 %: $1,000.00 to $2,000.00)"),
        (3.0, None, "$3.00 (uncertain: half of the resampled"),
    ],
)
def test_advice_says_how_sure_its_crossover_is(crossover, between, says):
    errors = dict.fromkeys(STRATEGIES, (0.2, 0.1, 0.3))
    advice = {
        "errors": errors,
        "rows": dict.fromkeys(STRATEGIES, 12_345),
        "better": "distil",
        "sure": 0.87,
        "crossover": crossover,
        "crossover_between": between,
    }
    said = describe(advice, 1500, Prices(label=0.25, row=0.001))
    assert says in said
    assert "12,345 rows" in said
    assert "better: distil, in 87% of resampled pilots" in said
    assert said.startswith("with $1,500.00: a label costs $0.2500")
