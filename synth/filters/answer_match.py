"""Keeps rows whose answer is the gold one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from synth.answers.equal import TOLERANCE
from synth.answers.golds import GoldKind, agrees, read_gold, shown
from synth.answers.numerals import DecimalMark
from synth.core.records import Row, Verdict
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class AnswerMatch(RowFilter):
    """Compares `answer` with `target`, numbers, quantities and expressions by value, other text
    folded.

    A gold is read as an answer is: bare, `#### 5`, boxed, a list of accepted ones; and by letter,
    index or text where the row has `choices`.

    Sees: one row. Costs: nothing; some 100,000 rows a CPU-second.

    Args:
        answer: name of the field to judge.
        target: name of the gold field; a row without it is unknown.
        tolerance: relative difference of decimals that still counts as equal; whole numbers compare
            exactly.
        choices: name of the field with the choices of a question that has some.
        gold: what a gold is where the row has choices: `text`, `letter`, `index` (from 0),
            `index_from_1`, or `any` that fits.
        decimal: the mark before decimals in answers and golds, `.` or `,`, where a lone mark
            (`1.234`) would leave it open.

    Reasons:
        wrong_answer: both are there and differ.
        no_answer: the row has no answer.
        no_target: the row has no gold (unknown).
        unreadable_target: nothing reads the gold, or it may be two things (unknown).

    Marks: `said` and `gold`, where they differ.

    Example:
        >>> kept, dropped = AnswerMatch().split(
        ...     [{"answer": "(84 / 2)", "target": "42"}, {"answer": "41", "target": "42"}]
        ... )
        >>> len(kept), dropped[0]["reason"]
        (1, 'wrong_answer')
    """

    answer: str = "answer"
    target: str = "target"
    tolerance: float = TOLERANCE
    choices: str = "choices"
    gold: GoldKind = "any"
    decimal: DecimalMark = ""

    reads: ClassVar[tuple[str, ...]] = ("answer", "target")
    no_fields: ClassVar[frozenset[str]] = frozenset({"gold"})
    reasons: ClassVar[dict[str, str]] = {
        "wrong_answer": "the answer is not the gold one",
        "no_answer": "there is no answer",
        "no_target": "there is no gold",
        "unreadable_target": "nothing reads the gold",
    }

    def verdict(self, row: Row) -> Verdict:
        answer = row.get(self.answer)
        target = row.get(self.target)
        if target is None:
            return Verdict(None, "no_target")
        if answer is None:
            return Verdict(False, "no_answer")
        choices = row.get(self.choices)
        # What nearly all rows with choices are: both are texts of them, and no letter or index.
        words = type(target) is str and len(target) > 3 and self.gold == "any"
        if (
            words
            and type(choices) is list
            and target in choices
            and answer in choices
        ):
            if answer == target:
                return Verdict(True)
            return self._wrong(answer, target)
        gold = read_gold(target, choices, self.gold)
        if not gold.comparable:
            return Verdict(
                None,
                "no_target" if gold.form == "missing" else "unreadable_target",
            )
        if agrees(answer, gold, choices, self.tolerance, self.decimal):
            return Verdict(True)
        return self._wrong(answer, target)

    @staticmethod
    def _wrong(answer: Any, target: Any) -> Verdict:
        return Verdict(
            False,
            "wrong_answer",
            {"said": shown(answer), "gold": shown(target)},
        )
