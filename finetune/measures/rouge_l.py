"""The longest common subsequence of words of an answer and its gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.measures.base import Measure, against_golds
from synth.core.records import Row
from synth.text.words import rouge_l


@dataclass(frozen=True, kw_only=True)
class RougeL(Measure):
    """F-measure of the longest common subsequence of words (Lin, 2004, section 3), against the best
    of several golds.

    Example:
        >>> RougeL().of_question([{"answer": "a cat sat", "target": "a cat sat"}])
        1.0
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(against_golds(row, rouge_l) for row in draws)
