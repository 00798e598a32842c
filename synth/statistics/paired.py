"""How sure a mean is, and a difference between two answers to the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Resamples of a bootstrap; its error at the ends of a 95 % interval is a fiftieth of its width.
RESAMPLES = 4000
_CHUNK = 1 << 22  # numbers that are drawn at a time


def mean_interval(
    values: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean (Efron and Tibshirani, 1993, section 13.3);
    (0, 0) of no value.

    Args:
        values: one a question.
        seed: of the resampling, which is the same each time.
    """
    if not values:
        return 0.0, 0.0
    import numpy as np  # noqa: PLC0415 - for those who measure

    table = np.asarray(values, dtype=float)
    count = len(table)
    random = np.random.default_rng(seed)
    means: list[float] = []
    at_a_time = max(1, _CHUNK // count)
    while len(means) < RESAMPLES:
        missing = RESAMPLES - len(means)
        rows = min(at_a_time, missing)
        places = random.integers(0, count, (rows, count))
        resampled = table[places]
        means += resampled.mean(axis=1).tolist()
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """The exact two-sided p-value that two students are right equally often (McNemar, 1947): of
    the questions that one of them alone gets right, each is as likely the first one's.

    Args:
        first: whether the first student is right, question by question.
        second: the same of the second.

    >>> mcnemar([True] * 5 + [False], [False] * 5 + [True])
    0.21875
    """
    wins = 0
    losses = 0
    for one, two in zip(first, second, strict=True):
        wins += one and not two
        losses += two and not one
    split = wins + losses
    fewer = min(wins, losses)
    # 2^split times the probability of at most `fewer`, as whole numbers: exact for any size.
    tail = 0
    for n in range(fewer + 1):
        tail += math.comb(split, n)
    return min(1.0, 2 * tail / (1 << split))
