"""Scores as probabilities: Platt's curve, isotonic regression, and a picture of how far scores can
be believed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import exp, log, log1p
from typing import Any, NamedTuple

BINS = 10
_FOLDS = 5
_STEPS = 100
_TINY = 1e-6
# Below this many labels a free curve follows noise (60 splits of 790 labels: its error grew,
# Platt's did not).
FEWEST_ISOTONIC = 1000
Curve = Mapping[str, Any]
Scores = Sequence[float]
Labels = Sequence[bool]
Points = Sequence[tuple[float, float]]
Fit = Callable[[Scores, Labels], Curve]
Bins = Sequence[Mapping[str, float]]


def platt(scores: Scores, labels: Labels) -> Curve:
    """1 / (1 + exp(-(a * logit(score) + b))) of maximum likelihood (Platt 1999), of scores from 0
    to 1.
    """
    logits = [_logit(score) for score in scores]
    a, b = line(logits, labels)
    return {"kind": "platt", "a": a, "b": b}


def line(values: Scores, labels: Labels) -> tuple[float, float]:
    """Slope a and offset b of the likeliest sigmoid(a * value + b), by Newton's method, with
    Platt's smoothed labels; values may be any finite numbers, such as margins of logits.
    """
    right = sum(labels)
    wrong = len(labels) - right
    # Platt's targets: no label is quite 0 or 1, so that no slope is endless.
    high = (right + 1) / (right + 2)
    low = 1 / (wrong + 2)
    points = [
        (value, high if label else low)
        for value, label in zip(values, labels, strict=True)
    ]
    a = 0.0
    b = log((right + 1) / (wrong + 1))
    error = _cross_entropy(points, a, b)
    for _ in range(_STEPS):
        da, db = _newton(points, a, b)
        after = _cross_entropy(points, a - da, b - db)
        # A full step may overshoot where the curve is steep: half of it, until the error falls.
        while after > error and abs(da) + abs(db) > _TINY:
            da = da / 2
            db = db / 2
            after = _cross_entropy(points, a - da, b - db)
        a = a - da
        b = b - db
        if error - after < _TINY * len(points):
            break
        error = after
    return a, b


def _cross_entropy(points: Points, a: float, b: float) -> float:
    """Sum of -wanted * ln(p) - (1 - wanted) * ln(1 - p), in a form that no large exponent
    breaks.
    """
    total = 0.0
    for x, wanted in points:
        z = a * x + b
        # ln(1 + e^z) is max(z, 0) + ln(1 + e^-|z|).
        tail = log1p(exp(-abs(z)))
        total += max(z, 0.0) - wanted * z + tail
    return total


def _newton(points: Points, a: float, b: float) -> tuple[float, float]:
    """The step of Newton's method: inverse curvature times gradient."""
    # Gradient and curvature of the cross entropy by a (0) and b (1).
    g0 = g1 = c01 = 0.0
    c00 = c11 = _TINY
    for x, wanted in points:
        chance = sigmoid(a * x + b)
        weight = chance * (1 - chance)
        off = chance - wanted
        g0 += off * x
        g1 += off
        c00 += weight * x * x
        c01 += weight * x
        c11 += weight
    determinant = c00 * c11 - c01 * c01
    da = c11 * g0 - c01 * g1
    db = c00 * g1 - c01 * g0
    return da / determinant, db / determinant


def isotonic(scores: Scores, labels: Labels) -> Curve:
    """The rising step function of least squares; a step ends at its largest score."""
    steps = rising(scores, labels)
    return {
        "kind": "isotonic",
        "to": [last for _, last, _ in steps],
        "share": [share for _, _, share in steps],
    }


def rising(scores: Scores, labels: Labels) -> list[tuple[float, float, float]]:
    """(smallest score, largest score, share of right ones) of each step of the rising function of
    least squares, by pooling neighbours that fall (Ayer et al. 1955).

    >>> rising([0.1, 0.2, 0.3, 0.4], [False, True, False, True])
    [(0.1, 0.1, 0.0), (0.2, 0.3, 0.5), (0.4, 0.4, 1.0)]
    >>> rising([0.0, 1.0, 1.0], [False, False, True])
    [(0.0, 0.0, 0.0), (1.0, 1.0, 0.5)]
    """
    # Equal scores are one step, whatever their labels.
    outcomes_of: dict[float, list[float]] = defaultdict(list)
    for score, label in zip(scores, labels, strict=True):
        outcomes_of[float(score)].append(float(label))
    blocks: list[_Block] = []
    for score in sorted(outcomes_of):
        outcomes = outcomes_of[score]
        block = _Block(
            right=sum(outcomes),
            rows=len(outcomes),
            first=score,
            last=score,
        )
        while blocks and blocks[-1].share >= block.share:
            before = blocks.pop()
            block = before.with_(block)
        blocks.append(block)
    return [(block.first, block.last, block.share) for block in blocks]


class _Block(NamedTuple):
    """Neighbours that share a step: how many are right, of how many, from which score to which."""

    right: float
    rows: int
    first: float
    last: float

    @property
    def share(self) -> float:
        return self.right / self.rows

    def with_(self, later: _Block) -> _Block:
        """This one and the block behind it as one."""
        return _Block(
            right=self.right + later.right,
            rows=self.rows + later.rows,
            first=self.first,
            last=later.last,
        )


def probability(curve: Curve, score: float) -> float:
    """The share of right rows among those of this score, as a curve sees it (0 to 1).

    >>> probability({"kind": "raw"}, 0.7)
    0.7
    >>> probability({"kind": "isotonic", "to": [0.2, 0.9], "share": [0.1, 0.8]}, 0.5)
    0.8
    """
    if curve["kind"] == "platt":
        margin = curve["a"] * _logit(score)
        return sigmoid(margin + curve["b"])
    if curve["kind"] == "isotonic":
        shares = curve["share"]
        for end, share in zip(curve["to"], shares, strict=True):
            if score <= end:
                return float(share)
        return float(shares[-1])
    return min(1.0, max(0.0, score))


def choose(scores: Scores, labels: Labels, groups: Sequence[Hashable]) -> Curve:
    """The curve of the smallest error (log loss) on folds that it did not see, cut by group; the
    scores as they are where none helps.

    Isotonic regression is tried from `FEWEST_ISOTONIC` labels on.
    """
    if not 0 < sum(labels) < len(labels):
        return {"kind": "raw"}
    kinds: dict[str, Fit] = {"raw": _raw, "platt": platt}
    if len(labels) >= FEWEST_ISOTONIC:
        kinds["isotonic"] = isotonic
    folds = _folds(groups)
    losses = dict.fromkeys(kinds, 0.0)
    for fold in range(_FOLDS):
        train = [n for n, other in enumerate(folds) if other != fold]
        test = [n for n, other in enumerate(folds) if other == fold]
        train_scores = [scores[n] for n in train]
        train_labels = [labels[n] for n in train]
        for kind, fit in kinds.items():
            curve = fit(train_scores, train_labels)
            for n in test:
                chance = probability(curve, scores[n])
                losses[kind] += _loss(chance, labels[n])
    best = min(losses, key=losses.__getitem__)
    return kinds[best](scores, labels)


def _raw(scores: Scores, labels: Labels) -> Curve:  # noqa: ARG001 - a `Fit`
    return {"kind": "raw"}


def _folds(groups: Sequence[Hashable]) -> list[int]:
    """The fold of each row: groups go to the folds in turn."""
    fold_of: dict[Hashable, int] = {}
    for group in groups:
        fold_of.setdefault(group, len(fold_of) % _FOLDS)
    return [fold_of[group] for group in groups]


def bins(chances: Scores, labels: Labels) -> list[dict[str, float]]:
    """{rows, said (mean probability), right (share)} of each tenth of the probabilities that holds
    rows.
    """
    tenths: dict[int, list[_Outcome]] = defaultdict(list)
    for chance, label in zip(chances, labels, strict=True):
        # A probability of 1 belongs to the last tenth.
        tenth = min(BINS - 1, int(chance * BINS))
        tenths[tenth].append(_Outcome(chance, label))
    return [_bin(tenths[tenth]) for tenth in sorted(tenths)]


class _Outcome(NamedTuple):
    chance: float
    label: bool


def _bin(outcomes: Sequence[_Outcome]) -> dict[str, float]:
    count = len(outcomes)
    chances = sum(outcome.chance for outcome in outcomes)
    right = sum(outcome.label for outcome in outcomes)
    return {
        "rows": count,
        "said": round(chances / count, 4),
        "right": round(right / count, 4),
    }


def calibration_error(chances: Scores, labels: Labels) -> float:
    """Expected calibration error over ten bins (0 to 1; 0 is best): mean distance of said and
    right, weighed by rows.
    """
    distance = 0.0
    for part in bins(chances, labels):
        gap = abs(part["said"] - part["right"])
        distance += part["rows"] * gap
    return distance / max(1, len(labels))


def plot(
    before: Bins,
    after: Bins,
    least: float | None = None,
) -> str:
    """A reliability diagram as SVG: what was said against what was right, a dot's area by its rows;
    the diagonal is honest.
    """
    most = max((part["rows"] for part in (*before, *after)), default=1)

    def dots(parts: Bins, style: str) -> str:
        points = []
        circles = []
        for part in parts:
            x = 40 + 300 * part["said"]
            y = 320 - 300 * part["right"]
            radius = 2 + 8 * (part["rows"] / most) ** 0.5
            points.append(f"{x:.1f},{y:.1f}")
            circles.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
                f"<title>{int(part['rows'])} rows</title></circle>"
            )
        return (
            f'<g {style}><polyline fill="none" points="{" ".join(points)}"/>'
            f"{''.join(circles)}</g>"
        )

    threshold = ""
    if least is not None:
        x = 40 + 300 * least
        threshold = (
            f'<path d="M{x:.1f} 20V320" stroke="#888" stroke-dasharray="4"/>'
        )
    raw = dots(before, 'stroke="#c60" fill="#c60" fill-opacity=".4"')
    curved = dots(after, 'stroke="#06c" fill="#06c" fill-opacity=".4"')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 360" font-family="sans-serif" '
        'font-size="11">'
        '<rect x="40" y="20" width="300" height="300" fill="none" stroke="#999"/><path d="M40 '
        '320L340 20" stroke="#bbb"/>'
        f"{threshold}{raw}{curved}"
        '<text x="130" y="345">said: probability of right</text><text x="14" y="230" '
        'transform="rotate(-90 14 230)">right: share</text>'
        '<text x="50" y="36" fill="#c60">scores as they are</text><text x="50" y="50" '
        'fill="#06c">calibrated</text></svg>\n'
    )


def _loss(chance: float, label: bool) -> float:
    chance = min(1 - _TINY, max(_TINY, chance))
    if label:
        return -log(chance)
    return -log(1 - chance)


def _logit(score: float) -> float:
    score = min(1 - 1e-4, max(1e-4, score))
    odds = score / (1 - score)
    return log(odds)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), whatever the size of x."""
    if x >= 0:
        return 1 / (1 + exp(-x))
    power = exp(x)
    return power / (1 + power)
