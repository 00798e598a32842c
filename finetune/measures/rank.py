"""The place of the gold in a list of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, questions
from finetune.measures.set_f1 import answer_items, listed
from synth.core.records import Row


@dataclass(frozen=True, kw_only=True)
class Rank(Measure):
    r"""Mean reciprocal rank of the first right item of a ranked list, and hits at 1, 3 and 10: link
    prediction, lists of hypernyms (Bordes et al., 2013, section 4).

    Other right items of the question, in a list `known`, are passed over (the filtered setting).
    An answer is a list, or a text with items between commas, semicolons or lines, the best first.

    Example:
        >>> Rank().of_question([{"answer": "1. hat\n2. pen", "target": "pen"}])
        0.5
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        places = map(_place, draws)
        return fmean(1 / place if place else 0.0 for place in places)

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """hits_at_1, hits_at_3, hits_at_10: of questions, by their first draw."""
        places = [_place(draws[0]) for draws in questions(predictions)]
        total = max(1, len(places))
        report = {}
        for most in (1, 3, 10):
            hits = sum(1 <= place <= most for place in places)
            report[f"hits_at_{most}"] = round(hits / total, 4)
        return report


def _place(row: Row) -> int:
    """The place of the first right item, from 1; 0 where none is."""
    right = set(listed(row.get("target")))
    known = set(listed(row.get("known") or [])) - right
    left = [name for name in answer_items(row) if name not in known]
    for place, name in enumerate(left, 1):
        if name in right:
            return place
    return 0
