"""Whether the same question in other words or languages brings the same answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import ClassVar

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, by_group
from synth.answers.equal import votes as one_key_a_value
from synth.core.errors import WrongUse
from synth.core.records import Row


@dataclass(frozen=True, kw_only=True)
class Consistency(Measure):
    """Of the forms of a question (rows with the same `group`: languages, paraphrases), the share of
    all choices of `size` forms whose answers are one; `ac3` is its harmonic mean with accuracy
    (SeaEval, arXiv:2309.04766, section 3.3).

    An answer that cannot be read agrees with nothing. A question with fewer forms says nothing.

    Args:
        size: forms that must agree, 2 or more.

    Example:
        >>> forms = [{"answer": "4"}, {"answer": "4.0"}, {"answer": "5"}]
        >>> round(Consistency(size=2).of_question(forms), 4)
        0.3333
    """

    size: int = 3
    needs_gold: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size < 2:
            raise WrongUse(
                "consistency: size",
                f"{self.size}",
                "2 or more",
                "One form always agrees with itself.",
            )

    def units(self, predictions: Sequence[Row]) -> Mapping[bytes, list[Row]]:
        return by_group(predictions, "consistency")

    def of_question(self, draws: Sequence[Row]) -> float | None:
        if len(draws) < self.size:
            return None
        answers = [
            None if row.get("answer") is None else str(row["answer"])
            for row in draws
        ]
        keys = one_key_a_value(answers)
        same = Counter(key for key in keys if key is not None)
        agreeing = sum(comb(count, self.size) for count in same.values())
        return agreeing / comb(len(draws), self.size)

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """Accuracy over all rows, and ac3."""
        values = map(self.of_question, self.units(predictions).values())
        counted = [value for value in values if value is not None]
        if not counted:
            return {}
        right = [bool(row.get("right")) for row in predictions]
        accuracy = fmean(right)
        return {
            "accuracy": round(accuracy, 4),
            "ac3": round(_harmonic(accuracy, fmean(counted)), 4),
        }


def _harmonic(one: float, two: float) -> float:
    """The harmonic mean; 0 where both are.

    >>> _harmonic(1.0, 0.5)
    0.6666666666666666
    """
    total = one + two
    return 2 * one * two / total if total else 0.0
