"""Keeps rows whose answer is the gold one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.filters.base import RowFilter
from synth.records import Row, Verdict
from synth.verifiers.math_equal import same_answer


@dataclass(frozen=True, kw_only=True)
class AnswerMatch(RowFilter):
    """Compares `answer` with `target`, numbers and expressions by value, other text folded.

    Sees: one row. Costs: nothing; some 100,000 rows a CPU-second.

    Args:
        answer: name of the field to judge.
        target: name of the gold field; a row without it is unknown.
        tolerance: relative difference of numbers that still counts as equal.

    Reasons:
        wrong_answer: both are there and differ.
        no_answer: the row has no answer.

    Marks: none.

    Example:
        >>> kept, dropped = AnswerMatch().split([{"answer": "(84 / 2)", "target": "42"}, {"answer": "41", "target": "42"}])
        >>> len(kept), dropped[0]["reason"]
        (1, 'wrong_answer')
    """

    answer: str = "answer"
    target: str = "target"
    tolerance: float = 1e-6

    reads: ClassVar[tuple[str, ...]] = ("answer", "target")
    reasons: ClassVar[dict[str, str]] = {
        "wrong_answer": "the answer is not the gold one",
        "no_answer": "there is no answer",
    }

    def verdict(self, row: Row) -> Verdict:
        """The verdict on one row."""
        answer, target = row.get(self.answer), row.get(self.target)
        if target is None:
            return Verdict(None, "no_target")
        if answer is None:
            return Verdict(False, "no_answer")
        same = same_answer(str(answer), str(target), self.tolerance)
        return Verdict(same, "" if same else "wrong_answer")
