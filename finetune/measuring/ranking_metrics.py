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

from finetune.core.rows import JsonObject

# Ids of texts, the best first.
Order = Sequence[str]
# Grades or scores by the id of a text.
Grades = Mapping[str, float]
Run = Mapping[str, Grades]
Qrels = Mapping[str, Grades]


def ranked(scores: Grades) -> list[str]:
    """Ids by falling score, then by falling id."""
    return sorted(scores, key=lambda name: (scores[name], name), reverse=True)


def ndcg(order: Order, grades: Grades, k: int) -> float:
    """Discounted cumulative gain of the first k, gain = grade, over that of the best order
    (Järvelin and Kekäläinen 2002), 0 to 1.

    >>> round(ndcg(["a", "b", "c"], {"b": 2, "c": 1}, 3), 4)
    0.6697
    """
    ideal = sorted(grades.values(), reverse=True)[:k]
    best = _dcg(ideal)
    if not best:
        return 0.0
    gains = [grades.get(name, 0) for name in order[:k]]
    return _dcg(gains) / best


def _dcg(gains: Sequence[float]) -> float:
    """Of grades by rank; those below 0 count as 0."""
    total = 0.0
    for rank, gain in enumerate(gains, 1):
        total += max(0.0, gain) / log2(rank + 1)
    return total


def reciprocal_rank(
    order: Order, grades: Grades, k: int | None = None
) -> float:
    """1 / the place of the first text that answers, among the first k; 0 where none does.

    >>> reciprocal_rank(["a", "b"], {"b": 1})
    0.5
    """
    for rank, name in enumerate(order[:k], 1):
        if grades.get(name, 0) > 0:
            return 1 / rank
    return 0.0


def recall(order: Order, grades: Grades, k: int) -> float:
    """Share of the texts that answer among the first k.

    >>> recall(["a", "b", "c"], {"b": 1, "c": 2}, 2)
    0.5
    """
    right = _right(grades)
    if not right:
        return 0.0
    first = right.intersection(order[:k])
    return len(first) / len(right)


def _right(grades: Grades) -> set[str]:
    """The texts that answer."""
    return {name for name, grade in grades.items() if grade > 0}


def average_precision(order: Order, grades: Grades) -> float:
    """Mean over the texts that answer of the precision at their places.

    >>> round(average_precision(["a", "b", "c"], {"b": 1, "c": 2}), 4)
    0.5833
    """
    right = _right(grades)
    if not right:
        return 0.0
    ranks = [rank for rank, name in enumerate(order, 1) if name in right]
    total = 0.0
    for count, rank in enumerate(ranks, 1):
        total += count / rank
    return total / len(right)


def evaluate(run: Run, qrels: Qrels, k: int = 10) -> dict[str, list[float]]:
    """Each metric of each query that has a judged text and stands in the run, in the order of the
    qrels.
    """
    ndcgs = []
    reciprocal_ranks = []
    recalls = []
    precisions = []
    for query, grades in qrels.items():
        if query not in run:
            continue
        order = ranked(run[query])
        ndcgs.append(ndcg(order, grades, k))
        reciprocal_ranks.append(reciprocal_rank(order, grades, k))
        recalls.append(recall(order, grades, k))
        precisions.append(average_precision(order, grades))
    return {
        f"ndcg@{k}": ndcgs,
        f"mrr@{k}": reciprocal_ranks,
        f"recall@{k}": recalls,
        "map": precisions,
    }


def summary(
    values: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> JsonObject:
    """The mean and its 95 % percentile bootstrap interval over queries (Efron 1979).

    >>> summary([1.0, 1.0, 1.0])
    {'mean': 1.0, 'low': 1.0, 'high': 1.0, 'queries': 3}
    """
    rng = random.Random(seed)
    count = len(values)
    means = [0.0]
    if count:
        samples = (rng.choices(values, k=count) for _ in range(resamples))
        means = sorted(sum(sample) / count for sample in samples)
    last = len(means) - 1
    low = means[int(0.025 * last)]
    high = means[int(0.975 * last + 0.5)]
    return {
        "mean": sum(values) / max(1, count),
        "low": low,
        "high": high,
        "queries": count,
    }
