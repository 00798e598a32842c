"""Keeps rows whose text is neither too short nor too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.text.words import count


@dataclass(frozen=True, kw_only=True)
class Length(RowFilter):
    """Counts words or characters of a field; characters that no spaces part count as a share of a
    word.

    Sees: one row. Costs: nothing.

    Args:
        field: name of the field; the raw reply where a row lacks it.
        least: fewest that are kept.
        most: most that are kept; None for no bound.
        unit: `words` or `chars`.

    Reasons:
        too_short: fewer than `least`.
        too_long: more than `most`.

    Marks: `length`.

    Example:
        >>> Length(least=3).judge({"rationale": "too short"}).reason
        'too_short'
    """

    field: str = "rationale"
    least: int = 1
    most: int | None = None
    unit: str = "words"

    reasons: ClassVar[dict[str, str]] = {
        "too_short": "fewer than least",
        "too_long": "more than most",
    }

    def __post_init__(self) -> None:
        if self.unit not in ("words", "chars"):
            raise ValueError(f"unit {self.unit!r}; use words or chars")
        if self.most is not None and self.most < self.least:
            raise ValueError(
                f"most={self.most} is below least={self.least}; nothing would be kept"
            )

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)
        length = count(text) if self.unit == "words" else len(text)
        if length < self.least:
            return Verdict(False, "too_short", {"length": length})
        if self.most is not None and length > self.most:
            return Verdict(False, "too_long", {"length": length})
        return Verdict(True, "", {"length": length})
