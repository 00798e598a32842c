"""Scores as probabilities: Platt's curve, isotonic regression, and a picture of how far scores can
be believed.
"""

from __future__ import annotations

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


def platt(scores: Sequence[float], labels: Sequence[bool]) -> Curve:
    """1 / (1 + exp(-(a * logit(score) + b))) of maximum likelihood (Platt 1999), of scores from 0
    to 1.
    """
    a, b = line([_logit(score) for score in scores], labels)
    return {"kind": "platt", "a": a, "b": b}


def line(
    values: Sequence[float], labels: Sequence[bool]
) -> tuple[float, float]:
    """Slope a and offset b of the likeliest sigmoid(a * value + b), by Newton's method, with
    Platt's smoothed labels; values may be any finite numbers, such as margins of logits.
    """
    right = sum(labels)
    wrong = len(labels) - sum(labels)
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
        # A full step may overshoot where the curve is steep: half of it, until the error falls.
        while (after := _cross_entropy(points, a - da, b - db)) > error and abs(
            da
        ) + abs(db) > _TINY:
            da = da / 2
            db = db / 2
        a = a - da
        b = b - db
        if error - after < _TINY * len(points):
            break
        error = after
    return a, b


def _cross_entropy(
    points: Sequence[tuple[float, float]], a: float, b: float
) -> float:
    """Sum of -wanted * ln(p) - (1 - wanted) * ln(1 - p), in a form that no large exponent
    breaks.
    """
    total = 0.0
    for x, wanted in points:
        z = a * x + b
        total += max(z, 0.0) - wanted * z + log1p(exp(-abs(z)))
    return total


def _newton(
    points: Sequence[tuple[float, float]], a: float, b: float
) -> tuple[float, float]:
    """The step of Newton's method: inverse curvature times gradient."""
    g0 = g1 = c01 = 0.0
    c00 = c11 = _TINY
    for x, wanted in points:
        chance = sigmoid(a * x + b)
        off = chance - wanted
        weight = chance * (1 - chance)
        g0 = g0 + off * x
        g1 = g1 + off
        c00 = c00 + weight * x * x
        c01 = c01 + weight * x
        c11 = c11 + weight
    determinant = c00 * c11 - c01 * c01
    return (c11 * g0 - c01 * g1) / determinant, (
        c00 * g1 - c01 * g0
    ) / determinant


def isotonic(scores: Sequence[float], labels: Sequence[bool]) -> Curve:
    """The rising step function of least squares; a step ends at its largest score."""
    steps = rising(scores, labels)
    return {
        "kind": "isotonic",
        "to": [last for _, last, _ in steps],
        "share": [share for _, _, share in steps],
    }


def rising(
    scores: Sequence[float], labels: Sequence[bool]
) -> list[tuple[float, float, float]]:
    """(smallest score, largest score, share of right ones) of each step of the rising function of
    least squares, by pooling neighbours that fall (Ayer et al. 1955).

    >>> rising([0.1, 0.2, 0.3, 0.4], [False, True, False, True])
    [(0.1, 0.1, 0.0), (0.2, 0.3, 0.5), (0.4, 0.4, 1.0)]
    >>> rising([0.0, 1.0, 1.0], [False, False, True])
    [(0.0, 0.0, 0.0), (1.0, 1.0, 0.5)]
    """
    # Equal scores are one step, whatever their labels.
    rights: dict[float, list[float]] = {}
    for score, label in zip(scores, labels, strict=True):
        rights.setdefault(float(score), []).append(float(label))
    blocks: list[_Block] = []
    for score in sorted(rights):
        block = _Block(sum(rights[score]), len(rights[score]), score, score)
        while blocks and blocks[-1].share >= block.share:
            block = blocks.pop().with_(block)
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
        right = self.right + later.right
        return _Block(right, self.rows + later.rows, self.first, later.last)


def probability(curve: Curve, score: float) -> float:
    """The share of right rows among those of this score, as a curve sees it (0 to 1).

    >>> probability({"kind": "raw"}, 0.7)
    0.7
    >>> probability({"kind": "isotonic", "to": [0.2, 0.9], "share": [0.1, 0.8]}, 0.5)
    0.8
    """
    if curve["kind"] == "platt":
        return sigmoid(curve["a"] * _logit(score) + curve["b"])
    if curve["kind"] == "isotonic":
        return float(
            next(
                (
                    share
                    for end, share in zip(
                        curve["to"], curve["share"], strict=True
                    )
                    if score <= end
                ),
                curve["share"][-1],
            )
        )
    return min(1.0, max(0.0, score))


def choose(
    scores: Sequence[float], labels: Sequence[bool], groups: Sequence[Hashable]
) -> Curve:
    """The curve of the smallest error (log loss) on folds that it did not see, cut by group; the
    scores as they are where none helps.

    Isotonic regression is tried from `FEWEST_ISOTONIC` labels on.
    """
    if not 0 < sum(labels) < len(labels):
        return {"kind": "raw"}
    kinds: dict[str, Callable[[Sequence[float], Sequence[bool]], Curve]] = {
        "raw": lambda *_: {"kind": "raw"},
        "platt": platt,
    }
    if len(labels) >= FEWEST_ISOTONIC:
        kinds["isotonic"] = isotonic
    folds = {group: n % _FOLDS for n, group in enumerate(dict.fromkeys(groups))}
    losses = dict.fromkeys(kinds, 0.0)
    for fold in range(_FOLDS):
        train = [n for n, group in enumerate(groups) if folds[group] != fold]
        for kind, make in kinds.items():
            curve = make([scores[n] for n in train], [labels[n] for n in train])
            losses[kind] += sum(
                _loss(probability(curve, scores[n]), labels[n])
                for n, group in enumerate(groups)
                if folds[group] == fold
            )
    return kinds[min(losses, key=lambda kind: losses[kind])](scores, labels)


def bins(
    chances: Sequence[float], labels: Sequence[bool]
) -> list[dict[str, float]]:
    """{rows, said (mean probability), right (share)} of each tenth of the probabilities that holds
    rows.
    """
    tenths: dict[int, list[tuple[float, bool]]] = {}
    for chance, label in zip(chances, labels, strict=True):
        tenth = min(BINS - 1, int(chance * BINS))
        tenths.setdefault(tenth, []).append((chance, label))
    listed = []
    for _, members in sorted(tenths.items()):
        count = len(members)
        mean = sum(chance for chance, _ in members) / count
        share = sum(label for _, label in members) / count
        listed.append(
            {"rows": count, "said": round(mean, 4), "right": round(share, 4)}
        )
    return listed


def calibration_error(
    chances: Sequence[float], labels: Sequence[bool]
) -> float:
    """Expected calibration error over ten bins (0 to 1; 0 is best): mean distance of said and
    right, weighed by rows.
    """
    return sum(
        part["rows"] * abs(part["said"] - part["right"])
        for part in bins(chances, labels)
    ) / max(1, len(labels))


def plot(
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
    least: float | None = None,
) -> str:
    """A reliability diagram as SVG: what was said against what was right, a dot's area by its rows;
    the diagonal is honest.
    """
    most = max((part["rows"] for part in (*before, *after)), default=1)

    def dots(parts: Sequence[Mapping[str, float]], style: str) -> str:
        where = [
            (
                40 + 300 * p["said"],
                320 - 300 * p["right"],
                2 + 8 * (p["rows"] / most) ** 0.5,
                int(p["rows"]),
            )
            for p in parts
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in where)
        circles = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"><title>{n} rows</title></circle>'
            for x, y, r, n in where
        )
        return (
            f'<g {style}><polyline fill="none" points="{line}"/>{circles}</g>'
        )

    at = (
        ""
        if least is None
        else f'<path d="M{40 + 300 * least:.1f} 20V320" stroke="#888" stroke-dasharray="4"/>'
    )
    drawn = dots(before, 'stroke="#c60" fill="#c60" fill-opacity=".4"') + dots(
        after, 'stroke="#06c" fill="#06c" fill-opacity=".4"'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 360" font-family="sans-serif" '
        'font-size="11">'
        '<rect x="40" y="20" width="300" height="300" fill="none" stroke="#999"/><path d="M40 '
        '320L340 20" stroke="#bbb"/>'
        f"{at}{drawn}"
        '<text x="130" y="345">said: probability of right</text><text x="14" y="230" '
        'transform="rotate(-90 14 230)">right: share</text>'
        '<text x="50" y="36" fill="#c60">scores as they are</text><text x="50" y="50" '
        'fill="#06c">calibrated</text></svg>\n'
    )


def _loss(chance: float, label: bool) -> float:
    chance = min(1 - _TINY, max(_TINY, chance))
    return -log(chance if label else 1 - chance)


def _logit(score: float) -> float:
    score = min(1 - 1e-4, max(1e-4, score))
    return log(score / (1 - score))


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), whatever the size of x."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))
