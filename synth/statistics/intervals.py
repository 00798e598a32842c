"""How sure a share is."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log, log1p, sqrt

Z95 = 1.959963984540054


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Area under the ROC curve (Mann and Whitney): how likely a right row scores higher than a
    wrong one; ties count half.

    >>> auc([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    0.875
    """
    order = sorted(range(len(scores)), key=lambda n: scores[n])
    ranks = [0.0] * len(scores)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        for n in order[at:end]:
            ranks[n] = (at + end + 1) / 2
        at = end
    right = sum(map(bool, labels))
    wrong = len(labels) - right
    if not right or not wrong:
        return float("nan")
    return (
        sum(rank for rank, label in zip(ranks, labels, strict=True) if label)
        - right * (right + 1) / 2
    ) / (right * wrong)


def wilson(hits: float, count: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share (Wilson 1927); 95 % unless z says otherwise, (0, 1) for
    no rows.

    >>> [round(x, 3) for x in wilson(90, 100)]
    [0.826, 0.945]
    """
    if not count:
        return 0.0, 1.0
    share = hits / count
    square = z * z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = (
        z
        * sqrt(share * (1 - share) / count + square / (4 * count * count))
        / (1 + square / count)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def lower_bound(right: float, count: float, alpha: float) -> float:
    """Clopper and Pearson's lower bound of a share, one-sided, also for counts that are no whole
    numbers.

    >>> round(lower_bound(22, 22, 0.1), 3), round(lower_bound(85, 100, 0.1), 3)
    (0.901, 0.794)
    """
    if right <= 0:
        return 0.0
    low = 0.0
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if beta_cdf(middle, right, count - right + 1) < alpha
            else (low, middle)
        )
    return low


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, by its continued fraction (Lentz's method; Numerical
    Recipes, 6.4).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(
        lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    )
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(1 - x, b, a) / b
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c = 1.0
    d = 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    total = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            total *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return total
