"""Whether the vote of k draws is right."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import fmean
from typing import ClassVar

from finetune.measures.base import Measure
from finetune.measures.pass_at import enough
from synth.core.records import Row

# Choices of k draws that are all counted; of more, so many are drawn, the same ones each time. The
# error of the share is then a hundredth at most.
_MOST = 2500


@dataclass(frozen=True, kw_only=True)
class MajorityAt(Measure):
    """The chance that the most frequent answer of `k` draws is right, over all choices of k among
    the draws, or a sample of 2,500 where there are more; ties share the credit (self-consistency,
    arXiv:2203.11171).

    Args:
        k: draws that vote.

    Example:
        >>> draws = [{"answer": "5", "right": True}] * 2 + [{"answer": "4", "right": False}]
        >>> MajorityAt(k=3).of_question(draws)
        1.0
    """

    k: int = 3
    needs_gold: ClassVar[bool] = False

    def of_question(self, draws: Sequence[Row]) -> float | None:
        enough(draws, self.k, "majority_at")
        return fmean(map(_credit, _choices(draws, self.k)))


def _choices(draws: Sequence[Row], k: int) -> Iterable[Sequence[Row]]:
    if comb(len(draws), k) <= _MOST:
        return combinations(draws, k)
    chance = random.Random(k)
    return (chance.sample(draws, k) for _ in range(_MOST))


def _credit(voters: Sequence[Row]) -> float:
    """The share of the leading answers that is right; answers that cannot be read do not vote."""
    votes: Counter[str] = Counter()
    right: dict[str, bool] = {}
    for row in voters:
        if row.get("answer") is not None:
            # Right answers are one answer, however they are spelt.
            name = "right" if row.get("right") else f"answer {row['answer']}"
            votes[name] += 1
            right[name] = bool(row.get("right"))
    if not votes:
        return 0.0
    most = max(votes.values())
    leading = [name for name, count in votes.items() if count == most]
    return fmean(right[name] for name in leading)
