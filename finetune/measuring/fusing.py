"""Several searches as one: by reciprocal ranks, or by weighted scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from finetune.measuring.ranking_metrics import Grades, Run
from synth.exports.base_retrieval import rrf


def fused(runs: Sequence[Run], by: str, weights: Sequence[float]) -> Run:
    """Several searches of the same queries as one.

    Args:
        runs: what each search found.
        by: ranks or scores.
        weights: of the scores of each search; empty for equal ones.
    """
    if len(runs) == 1:
        return runs[0]
    shares = weights or [1.0] * len(runs)
    together = {}
    for query in runs[0]:
        found = [run[query] for run in runs]
        if by == "ranks":
            together[query] = by_ranks(found)
        else:
            together[query] = by_scores(found, shares)
    return together


def by_ranks(found: Sequence[Grades]) -> dict[str, float]:
    """Reciprocal ranks, summed (Cormack et al. 2009); texts that a search did not find share the
    mean of the ranks behind its last.

    >>> sums = by_ranks([{"a": 3.0, "b": 1.0}, {"b": 0.9}])
    >>> {text: round(score, 4) for text, score in sums.items()}
    {'a': 0.0325, 'b': 0.0325}
    """
    unique: dict[str, None] = {}
    for scores in found:
        unique |= dict.fromkeys(scores)
    texts = list(unique)
    if not texts:
        return {}
    rankings = []
    for scores in found:
        ranking = [scores.get(text, -inf) for text in texts]
        rankings.append(ranking)
    sums = rrf(rankings)
    return dict(zip(texts, sums, strict=True))


def by_scores(
    found: Sequence[Grades], weights: Sequence[float]
) -> dict[str, float]:
    """Weighted sums of scores that were brought to 0 (the least of a search, or not found) to 1
    (its best).

    >>> by_scores([{"a": 3.0, "b": 1.0}, {"b": 9.0, "c": 8.0}], (1.0, 0.5))
    {'a': 1.0, 'b': 0.5, 'c': 0.0}
    """
    sums: dict[str, float] = {}
    for scores, weight in zip(found, weights, strict=True):
        shares = _from_0_to_1(scores)
        for text, share in shares.items():
            before = sums.get(text, 0.0)
            sums[text] = before + weight * share
    return sums


def _from_0_to_1(scores: Grades) -> Mapping[str, float]:
    """The least is 0, the best 1; equal scores are all 1."""
    if not scores:
        return {}
    values = scores.values()
    least = min(values)
    width = max(values) - least
    if not width:
        return dict.fromkeys(scores, 1.0)
    shares = {}
    for text, score in scores.items():
        shares[text] = (score - least) / width
    return shares
