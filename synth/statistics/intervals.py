"""How sure a share is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import exp, lgamma, log, log1p, sqrt

Z95 = 1.959963984540054


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Area under the ROC curve (Mann and Whitney): how likely a right row scores higher than a
    wrong one; ties count half.

    >>> auc([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    0.875
    """
    order = sorted(range(len(scores)), key=scores.__getitem__)
    ranks = [0.0] * len(scores)
    start = 0
    for _, equal in groupby(order, key=scores.__getitem__):
        rows = list(equal)
        end = start + len(rows)
        # Ranks begin at 1; equal scores share the mean of theirs.
        mean_rank = (start + end + 1) / 2
        for row in rows:
            ranks[row] = mean_rank
        start = end
    right = sum(map(bool, labels))
    wrong = len(labels) - right
    if not right or not wrong:
        return float("nan")
    ranked = zip(ranks, labels, strict=True)
    rank_sum = sum(rank for rank, label in ranked if label)
    # The sum where every right row stands below every wrong one.
    least_sum = right * (right + 1) / 2
    return (rank_sum - least_sum) / (right * wrong)


def auc_interval(
    area: float, right: int, wrong: int, z: float = Z95
) -> tuple[float, float]:
    """The score interval of an area under the ROC curve (Newcombe, Statistics in Medicine 25, 2006,
    method 5); 95 % unless z says otherwise, (0, 1) without rows of both kinds.

    It is the areas whose standard error, by Hanley and McNeil's formula at that area, puts them
    within z of what was found, so it stays wide where an area is 1.

    Args:
        area: that was found, 0 to 1.
        right: rows that are right.
        wrong: rows that are wrong.
        z: how many standard errors.

    >>> [round(x, 3) for x in auc_interval(0.75, 20, 20)]
    [0.571, 0.866]
    """
    if not right or not wrong:
        return 0.0, 1.0
    mean_rows = (right + wrong) / 2 - 1

    def is_within(other: float) -> bool:
        shape = (1 - other) / (2 - other) + other / (1 + other)
        variance = other * (1 - other) * (1 + mean_rows * shape)
        variance /= right * wrong
        return (area - other) ** 2 <= z * z * variance

    ends = []
    for end in (0.0, 1.0):
        inside = area
        outside = end
        # 60 halvings reach the last bit of a float.
        for _ in range(60):
            middle = (inside + outside) / 2
            if is_within(middle):
                inside = middle
            else:
                outside = middle
        ends.append(inside)
    return ends[0], ends[1]


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
    scale = 1 + square / count
    centre = share + square / (2 * count)
    centre /= scale
    variance = share * (1 - share) / count
    variance += square / (4 * count * count)
    half = z * sqrt(variance) / scale
    low = max(0.0, centre - half)
    high = min(1.0, centre + half)
    return low, high


def lower_bound(right: float, count: float, alpha: float) -> float:
    """Clopper and Pearson's lower bound of a share, one-sided, also for counts that are no whole
    numbers.

    >>> round(lower_bound(22, 22, 0.1), 3), round(lower_bound(85, 100, 0.1), 3)
    (0.901, 0.794)
    """
    if right <= 0:
        return 0.0
    wrong = count - right
    low = 0.0
    high = 1.0
    # 60 halvings reach the last bit of a float.
    for _ in range(60):
        middle = (low + high) / 2
        if beta_cdf(middle, right, wrong + 1) < alpha:
            low = middle
        else:
            high = middle
    return low


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, by its continued fraction (Lentz's method; Numerical
    Recipes, 6.4).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    # x^a (1 - x)^b / B(a, b), in logarithms: the gamma function overflows from 172 on.
    log_front = lgamma(a + b)
    log_front -= lgamma(a)
    log_front -= lgamma(b)
    log_front += a * log(x)
    log_front += b * log1p(-x)
    front = exp(log_front)
    # The fraction converges fast below this point; beyond it the other tail is taken.
    turning_point = (a + 1) / (a + b + 2)
    if x > turning_point:
        other_tail = front * _fraction(1 - x, b, a) / b
        return 1 - other_tail
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, to 13 digits."""
    tiny = 1e-300
    c = 1.0
    d = 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    total = d
    for m in range(1, 500):
        pole = a + 2 * m
        even = m * (b - m) * x
        even /= (pole - 1) * pole
        odd = -(a + m) * (a + b + m) * x
        odd /= pole * (pole + 1)
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / (d or tiny)
            c = 1 + term / c
            c = c or tiny
            total *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return total
