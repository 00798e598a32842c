"""Keeps rows whose text names what it must, and not what it must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from synth.core.paths import heads, values_at
from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.verifiers.spans import Spans


@dataclass(frozen=True, kw_only=True)
class Mentions(RowFilter):
    """Looks for values of other fields in a text, at borders of words, whatever their case.

    Sees: one row. Costs: nothing.

    Args:
        field: the field with the text; the raw reply where a row lacks it.
        must: fields whose values (or all elements of their lists) must stand in the text;
            `list.name` for a field of a list's elements.
        never: fields whose values must not.

    Reasons:
        not_mentioned: something that must stand there does not.
        mentioned: something that must not stand there does.

    Marks: `what` (the first of them).

    Example:
        >>> row = {
        ...     "text": "Ann lives in Bern.",
        ...     "head": "Ann",
        ...     "tail": "Basel",
        ...     "names": [{"name": "bern"}],
        ... }
        >>> Mentions(must=("head", "names.name")).judge(row).keep
        True
        >>> Mentions(must=("tail",)).judge(row).reason
        'not_mentioned'
    """

    field: str = "text"
    must: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    reasons: ClassVar[dict[str, str]] = {
        "not_mentioned": "a name is missing",
        "mentioned": "a name that must not be there",
    }

    def needs(self) -> tuple[str, ...]:
        """The fields whose values are looked for."""
        return heads((*self.must, *self.never))

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)
        spans = Spans(ellipsis=False)
        missing = next(
            (
                value
                for value in _values(row, self.must)
                if not spans.verify(value, text)
            ),
            None,
        )
        if missing is not None:
            return Verdict(False, "not_mentioned", {"what": missing[:200]})
        mention = next(
            (
                value
                for value in _values(row, self.never)
                if spans.verify(value, text)
            ),
            None,
        )
        return Verdict(
            mention is None,
            "" if mention is None else "mentioned",
            {} if mention is None else {"what": mention[:200]},
        )


def _values(row: Row, names: tuple[str, ...]) -> Iterator[str]:
    return (
        str(value)
        for name in names
        for value in values_at(row, name)
        if str(value).strip()
    )
