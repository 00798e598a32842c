"""Every gold of an input read before the first call: in which form, and the first that nothing
reads.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

from synth.answers.golds import AMBIGUOUS, has_number, read_gold
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.core.rows import first_given
from synth.filters.answer_match import AnswerMatch
from synth.filters.pass_rate import PassRate
from synth.filters.program_answer import ProgramAnswer
from synth.inputs.columns import column_hint
from synth.packs.pack import Pack
from synth.packs.step import Step
from synth.parsers.final_number import FinalNumber

_COMPARING = (AnswerMatch, PassRate, ProgramAnswer)
# How much of a gold a message shows, from its end, where the answer of a long one stands.
_SHOWN = 80


class GoldCheck:
    """Takes the rows of an input as they are checked.

    Args:
        pack: whose filters compare answers with golds.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.forms: Counter[str] = Counter()
        self.unread = 0
        self.first = ""
        self._columns: list[str] = []
        comparisons = [
            (step, part)
            for step in pack.steps
            for part in step.filters
            if isinstance(part, _COMPARING)
        ]
        self._step: Step | None = comparisons[0][0] if comparisons else None
        self._part: AnswerMatch | PassRate | ProgramAnswer | None = (
            comparisons[0][1] if comparisons else None
        )

    def see(self, row: Row, location: str) -> None:
        """Reads the gold of one row, where the pack compares with one.

        Raises:
            WrongUse: a gold that may be two choices.
        """
        if self._step is None or self._part is None:
            return
        name = self._part.target
        if not self._columns:
            self._columns = [str(column) for column in row]
        value = row.get(name)
        if value is None:
            value = self._aliased(row)
            if value is None:
                return
        kind = self._part.gold if isinstance(self._part, AnswerMatch) else "any"
        choices = row.get("choices")
        gold = read_gold(value, choices, kind)
        if gold.form == "missing":
            return
        if gold == AMBIGUOUS:
            wanted = "a gold that is one of the choices in one way"
            todo = (
                "Say which it is: --set "
                f"{self._step.name}.filters.{self._part.name}.gold=index (from 0), index_from_1, "
                "text or letter."
            )
            raise WrongUse(
                location,
                f"{name} = {value!r} of choices {choices!r}"[:200],
                wanted,
                todo,
            )
        numbers = isinstance(self._step.parser_for(row), FinalNumber)
        if gold.comparable and (not numbers or has_number(gold)):
            self.forms[gold.form] += 1
            return
        self.unread += 1
        why = "names no choice" if choices else "is no answer"
        if gold.comparable:
            why = "has no number, which the parser final_number reads"
        self.first = self.first or f"{location}: {name} {_end(value)} {why}"

    def _aliased(self, row: Row) -> Any:
        """The gold under another name that the pack takes."""
        return first_given(row, self._aliases)

    @cached_property
    def _aliases(self) -> list[str]:
        spec = (
            self.pack.spec.inputs.get(self._part.target) if self._part else None
        )
        return spec.aliases if spec else []

    def ended(self) -> None:
        """All rows have been seen.

        Raises:
            WrongUse: there are golds, and nothing reads any of them.
        """
        if self.unread and not self.forms:
            where, _, got = self.first.partition(": ")
            wanted = (
                "golds as `5`, `#### 5`, \\boxed{5}, or a letter, an index (from 0) or a "
                "text of `choices`"
            )
            todo = (
                "Name the column that holds the answer (--column target=NAME), or correct it: "
                "none of the golds can be read."
            )
            raise WrongUse(where, got, wanted, todo)

    def _none(self) -> str:
        """What a user should know where no row has a gold."""
        name = self._part.target if self._part else ""
        hint = column_hint(name, self._columns)
        filter_ = self._part.name if self._part else ""
        problem = f"golds: no row has {name!r}: {filter_} compares nothing and keeps every answer."
        return f"{problem} {hint}".strip()

    def summary(self) -> str:
        """One line for the user; "" where the pack compares with none."""
        if not self.forms:
            return self._none() if self._columns and not self.unread else ""
        forms = ", ".join(
            f"{count:,} {form}" for form, count in self.forms.most_common()
        )
        lost = (
            f"; {self.unread:,} that nothing reads, the first at {self.first}"
            if self.unread
            else ""
        )
        return f"golds: {self.forms.total():,} read ({forms}){lost}"


def _end(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}"
