"""Keeps rows whose numbers lie where they should."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from synth.core.paths import heads, values_at
from synth.core.records import Row, Verdict
from synth.core.rows import number_of
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class Bounds(RowFilter):
    """Each of the fields, such as a teacher's grades, must be a number from `least` to `most`.

    A text that says just a number (`4`, as between tags) is one.

    Sees: one row. Costs: nothing.

    Args:
        fields: names of the fields; `list.name` for a field of every element of a list.
        least: smallest number that is kept.
        most: largest.

    Reasons:
        too_low: below `least`.
        too_high: above `most`.
        no_number: a field is missing or no number (unknown).

    Marks: `field`, `value` (the first outside).

    Example:
        >>> Bounds(fields=("grade",), least=0.9).judge({"grade": 0.7}).reason
        'too_low'
    """

    fields: tuple[str, ...]
    least: float = -inf
    most: float = inf

    reasons: ClassVar[dict[str, str]] = {
        "too_low": "below least",
        "too_high": "above most",
        "no_number": "no number",
    }

    def needs(self) -> tuple[str, ...]:
        """The fields."""
        return heads(self.fields)

    def verdict(self, row: Row) -> Verdict:
        for name, value in (
            (path, number_of(value))
            for path in self.fields
            for value in (list(values_at(row, path)) or [None])
        ):
            if value is None:
                return Verdict(None, "no_number", {"field": name})
            if not self.least <= value <= self.most:
                return Verdict(
                    False,
                    "too_low" if value < self.least else "too_high",
                    {"field": name, "value": value},
                )
        return Verdict(True)
