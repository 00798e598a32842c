"""Buy labels from people, or rows from a teacher? One ledger, a pilot, a fitted curve, the
crossover with its interval.

Kang et al., "Distill or Annotate? Cost-Efficient Fine-Tuning of Compact Models", arXiv:2305.01645.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row

STRATEGIES = ("annotate", "distil")
RESAMPLES = 200
_SLOPES = [0.05 * n for n in range(1, 31)]
_FLOORS = 12
# Budgets at which the strategies are compared: from a tenth of the user's to ten times as much.
_BUDGETS = [10 ** (-1 + n / 20) for n in range(41)]


@dataclass(frozen=True)
class Curve:
    """error(rows) = a * rows^-b + floor: what more rows still bring."""

    a: float
    b: float
    floor: float

    def error(self, rows: float) -> float:
        """The error (0 to 1) with so many rows, at least one."""
        labelled = max(1.0, rows)
        error = self.a * labelled**-self.b + self.floor
        return min(1.0, float(error))


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Dollars: of one label by people, of one kept row by the teacher, and what each strategy costs
    before its first row.

    Attributes:
        seed_labels: labels that distilling needs too, to measure with.
    """

    label: float
    row: float
    fixed: float = 0.0
    seed_labels: int = 0

    def rows(
        self,
        strategy: str,
        budget: float,
    ) -> float:
        """Rows that a budget buys; 0 where it does not reach."""
        left = (
            budget
            - self.fixed
            - (self.seed_labels * self.label if strategy == "distil" else 0.0)
        )
        return max(
            0.0, left / (self.label if strategy == "annotate" else self.row)
        )


def fit(points: Sequence[tuple[float, float]]) -> Curve:
    """The curve of least squares over (rows, error), its slope and floor from a grid.

    >>> curve = fit([(n, 2 * n**-0.5 + 0.1) for n in (100, 400, 1600)])
    >>> round(curve.b, 2), round(curve.floor, 2)
    (0.5, 0.1)
    """
    least = min(error for _, error in points)
    best: tuple[float, Curve] | None = None
    for slope in _SLOPES:
        basis = [rows**-slope for rows, _ in points]
        for floor in [least * n / _FLOORS for n in range(_FLOORS)] + [
            least - 1e-9
        ]:
            top = sum(
                x * (error - floor)
                for x, (_, error) in zip(basis, points, strict=True)
            )
            curve = Curve(
                max(0.0, top / sum(x * x for x in basis)), slope, floor
            )
            wrong = sum(
                (curve.error(rows) - error) ** 2 for rows, error in points
            )
            if best is None or wrong < best[0]:
                best = wrong, curve
    assert best is not None  # noqa: S101 - the grid is not empty
    return best[1]


def read_pilot(rows: Sequence[Row]) -> dict[str, list[tuple[int, int, int]]]:
    """Strategy -> [(rows, wrong, tested)] of a pilot.

    Raises:
        WrongUse: other columns, or fewer than three sizes of a strategy.
    """
    points_by_strategy: dict[str, list[tuple[int, int, int]]] = {
        name: [] for name in STRATEGIES
    }
    for number, row in enumerate(rows, 1):
        try:
            size = int(row["rows"])
            wrong = int(row["wrong"])
            tested = int(row["tested"])
            if min(size, tested) < 1 or not 0 <= wrong <= tested:
                raise ValueError(wrong)
            points = points_by_strategy[str(row["strategy"])]
            points.append((size, wrong, tested))
        except (KeyError, TypeError, ValueError) as error:
            wanted = 'rows such as {"strategy": "distil", "rows": 500, "wrong": 61, "tested": 300}'
            raise WrongUse(
                f"--pilot row {number}",
                f"{dict(row)}"[:120],
                wanted,
                "strategy is annotate or distil; rows and tested are 1 at least, wrong is at "
                "most tested.",
            ) from error
    for name, points in points_by_strategy.items():
        if len({rows for rows, _, _ in points}) < 3:
            raise WrongUse(
                "--pilot",
                f"{len(points)} points of {name}",
                "students of three sizes of each strategy at least",
                "Train and measure more.",
            )
    return points_by_strategy


def advise(
    pilot: Mapping[str, Sequence[tuple[int, int, int]]],
    prices: Prices,
    budget: float,
    seed: int = 0,
) -> Fields:
    """What each strategy is expected to reach, which one is better, and from which budget on that
    changes.

    Intervals (90 %) come from drawing the pilot's errors anew, binomially, `RESAMPLES` times.

    Returns:
        `errors` {strategy: (expected, low, high)}, `rows`, `better`, `sure` (share of resamples
        that agree), `crossover` dollars or None, `crossover_between` (low, high) or None.
    """
    rng = random.Random(seed)
    fitted = {name: _fitted(points) for name, points in pilot.items()}
    base = _compare(fitted, prices, budget)
    again = []
    for _ in range(RESAMPLES):
        drawn = {name: _fitted(points, rng) for name, points in pilot.items()}
        again.append(_compare(drawn, prices, budget))
    crossings = sorted(
        sample["crossover"]
        for sample in again
        if sample["crossover"] is not None
    )
    between = None
    if len(crossings) >= RESAMPLES / 2:
        between = _interval(crossings)
    errors = {}
    for name in STRATEGIES:
        spread = sorted(sample["errors"][name] for sample in again)
        errors[name] = (base["errors"][name], *_interval(spread))
    sure = (
        sum(sample["better"] == base["better"] for sample in again) / RESAMPLES
    )
    return {
        **base,
        "errors": errors,
        "sure": sure,
        "crossover_between": between,
    }


def _compare(
    curves: Mapping[str, Curve],
    prices: Prices,
    budget: float,
) -> Fields:
    def errors(dollars: float) -> dict[str, float]:
        bought = {name: prices.rows(name, dollars) for name in STRATEGIES}
        return {
            name: curves[name].error(rows) if rows >= 1 else 1.0
            for name, rows in bought.items()
        }

    def better(dollars: float) -> str:
        error_by_strategy = errors(dollars)
        return min(STRATEGIES, key=lambda name: error_by_strategy[name])

    winners = [
        (budget * factor, better(budget * factor)) for factor in _BUDGETS
    ]
    changes = [
        exp((log(low) + log(high)) / 2)
        for (low, one), (high, two) in pairwise(winners)
        if one != two
    ]
    nearest = min(
        changes, key=lambda dollars: abs(log(dollars / budget)), default=None
    )
    rows = {name: int(prices.rows(name, budget)) for name in STRATEGIES}
    return {
        "errors": errors(budget),
        "rows": rows,
        "better": better(budget),
        "crossover": nearest,
    }


def _fitted(
    points: Sequence[tuple[int, int, int]], rng: random.Random | None = None
) -> Curve:
    """The curve of a pilot's errors; with `rng`, of errors drawn anew."""
    shares = []
    for rows, wrong, tested in points:
        errors = wrong if rng is None else _redraw(wrong, tested, rng)
        shares.append((rows, errors / tested))
    return fit(shares)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 90 % of sorted values."""
    return _quantile(values, 0.05), _quantile(values, 0.95)


def _redraw(
    wrong: int,
    tested: int,
    rng: random.Random,
) -> int:
    return sum(rng.random() < wrong / tested for _ in range(tested))


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def describe(
    advice: Row,
    budget: float,
    prices: Prices,
) -> str:
    """The advice as text."""
    lines = [
        f"with ${budget:,.2f}: a label costs ${prices.label:.4f}, a kept row ${prices.row:.6f}"
    ]
    for name in STRATEGIES:
        expected, low, high = advice["errors"][name]
        lines.append(
            f"  {name}: {advice['rows'][name]:,} rows, expected error {expected:.3f} (90 %: "
            f"{low:.3f} to {high:.3f})"
        )
    lines.append(
        f"  better: {advice['better']}, in {advice['sure']:.0%} of resampled pilots"
    )
    if advice["crossover"] is None:
        lines.append(
            "  no other budget from a tenth to ten times of this one changes that"
        )
    else:
        between = advice["crossover_between"]
        interval = (
            f" (90 %: ${between[0]:,.2f} to ${between[1]:,.2f})"
            if between
            else " (uncertain: half of the resampled pilots show none)"
        )
        lines.append(
            f"  the nearest budget at which that changes: ${advice['crossover']:,.2f}{interval}"
        )
    return "\n".join(lines)
