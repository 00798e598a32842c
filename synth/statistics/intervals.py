"""How sure a share is."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

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
