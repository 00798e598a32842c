"""Keeps rows that name only what is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.paths import values_at
from synth.core.records import Row, Verdict
from synth.filters.base import RowFilter
from synth.text.words import plain


@dataclass(frozen=True, kw_only=True)
class Subset(RowFilter):
    """Every value of a field must be in a list: ids that a record has, labels of a set.

    Sees: one row. Costs: nothing.

    Args:
        field: a value or a list of them; `list.name` for a field of a list's elements, which may be
            lists too.
        of: the field with the list; "" where `values` are given.
        values: the list itself.
        least: fewest values.

    Reasons:
        unknown_value: one that the list does not have.
        too_few: fewer values than `least`.
        no_list: the row has no list (unknown).

    Marks: `what` (the first unknown one).

    Example:
        >>> Subset(field="refs", of="ids").judge({"refs": ["a", "c"], "ids": ["a", "b"]}).marks
        {'what': 'c'}
    """

    field: str
    of: str = ""
    values: tuple[str, ...] = ()
    least: int = 1

    reasons: ClassVar[dict[str, str]] = {
        "unknown_value": "not in the list",
        "too_few": "too few",
        "no_list": "no list",
    }

    def __post_init__(self) -> None:
        if bool(self.of) == bool(self.values):
            raise ValueError(
                f"of={self.of!r}, values={self.values}; give one of the two"
            )

    def needs(self) -> tuple[str, ...]:
        """The list."""
        return (self.of,) if self.of else ()

    def verdict(self, row: Row) -> Verdict:
        allowed_values = row.get(self.of) if self.of else self.values
        if not isinstance(allowed_values, list | tuple):
            return Verdict(None, "no_list")
        allowed = {plain(value) for value in allowed_values}
        values = list(values_at(row, self.field))
        if len(values) < self.least:
            return Verdict(False, "too_few")
        wrong = next(
            (value for value in values if plain(value) not in allowed), None
        )
        return Verdict(
            wrong is None,
            "" if wrong is None else "unknown_value",
            {} if wrong is None else {"what": str(wrong)[:200]},
        )
