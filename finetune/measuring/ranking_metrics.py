"""How good a ranking is: nDCG@k, MRR, recall@k, MAP, as trec_eval computes them, and their mean
with an interval.

A run maps each query to the scores of its texts, qrels map it to the grades of those that were
judged. Texts are ordered by falling score, equal scores by falling id, as trec_eval has it. A text
without a grade counts as grade 0.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, float]]


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Ids by falling score, then by falling id."""
    return sorted(scores, key=lambda name: (scores[name], name), reverse=True)


def ndcg(order: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Discounted cumulative gain of the first k, gain = grade, over that of the best order
    (Järvelin and Kekäläinen 2002), 0 to 1.

    >>> round(ndcg(["a", "b", "c"], {"b": 2, "c": 1}, 3), 4)
    0.6697
    """
    best = _dcg(
        sorted((grade for grade in grades.values() if grade > 0), reverse=True)[
            :k
        ]
    )
    if best:
        return (
            _dcg([max(0.0, grades.get(name, 0)) for name in order[:k]]) / best
        )
    return 0.0


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / log2(place + 2) for place, gain in enumerate(gains))


def reciprocal_rank(
    order: Sequence[str], grades: Mapping[str, float], k: int | None = None
) -> float:
    """1 / the place of the first text that answers, among the first k; 0 where none does.

    >>> reciprocal_rank(["a", "b"], {"b": 1})
    0.5
    """
    return next(
        (
            1 / place
            for place, name in enumerate(order[:k], 1)
            if grades.get(name, 0) > 0
        ),
        0.0,
    )


def recall(order: Sequence[str], grades: Mapping[str, float], k: int) -> float:
    """Share of the texts that answer among the first k.

    >>> recall(["a", "b", "c"], {"b": 1, "c": 2}, 2)
    0.5
    """
    right = {name for name, grade in grades.items() if grade > 0}
    return len(right.intersection(order[:k])) / len(right) if right else 0.0


def average_precision(
    order: Sequence[str], grades: Mapping[str, float]
) -> float:
    """Mean over the texts that answer of the precision at their places.

    >>> round(average_precision(["a", "b", "c"], {"b": 1, "c": 2}), 4)
    0.5833
    """
    right = {name for name, grade in grades.items() if grade > 0}
    hits = [place for place, name in enumerate(order, 1) if name in right]
    if right:
        return sum(found / place for found, place in enumerate(hits, 1)) / len(
            right
        )
    return 0.0


def evaluate(run: Run, qrels: Qrels, k: int = 10) -> dict[str, list[float]]:
    """Each metric of each query that has a judged text and stands in the run, in the order of the
    qrels.
    """
    made: dict[str, list[float]] = {
        name: [] for name in (f"ndcg@{k}", f"mrr@{k}", f"recall@{k}", "map")
    }
    for query, grades in qrels.items():
        if query in run:
            order = ranked(run[query])
            values = (
                ndcg(order, grades, k),
                reciprocal_rank(order, grades, k),
                recall(order, grades, k),
                average_precision(order, grades),
            )
            for name, value in zip(made, values, strict=True):
                made[name].append(value)
    return made


def summary(
    values: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The mean and its 95 % percentile bootstrap interval over queries (Efron 1979).

    >>> summary([1.0, 1.0, 1.0])
    {'mean': 1.0, 'low': 1.0, 'high': 1.0, 'queries': 3}
    """
    rng = random.Random(seed)
    count = len(values)
    means = (
        sorted(
            sum(rng.choices(values, k=count)) / count for _ in range(resamples)
        )
        if count
        else [0.0]
    )
    low = means[int(0.025 * (len(means) - 1))]
    high = means[int(0.975 * (len(means) - 1) + 0.5)]
    return {
        "mean": sum(values) / max(1, count),
        "low": low,
        "high": high,
        "queries": count,
    }
