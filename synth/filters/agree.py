"""Keeps rows in which two fields say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.answers.equal import same_answer
from synth.core.records import Row, Verdict
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class Agree(RowFilter):
    """Two answers of different steps, prompts or orders must be equal, whatever their spelling.

    Sees: one row. Costs: nothing.

    Args:
        first: a field.
        second: the other one.

    Reasons:
        disagree: they say different things.
        nothing_said: one of them is missing (unknown).

    Marks: `first`, `second`.

    Example:
        >>> Agree(first="direct", second="turned").judge({"direct": "1/2", "turned": "0.5"}).keep
        True
    """

    first: str
    second: str

    reasons: ClassVar[dict[str, str]] = {
        "disagree": "different things",
        "nothing_said": "one is missing",
    }

    def needs(self) -> tuple[str, ...]:
        """Both fields."""
        return (self.first, self.second)

    def verdict(self, row: Row) -> Verdict:
        first = row.get(self.first)
        second = row.get(self.second)
        if first is None or second is None:
            return Verdict(None, "nothing_said")
        same = same_answer(str(first), str(second))
        return Verdict(
            same,
            "" if same else "disagree",
            {"first": str(first)[:100], "second": str(second)[:100]},
        )
