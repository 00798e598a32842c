"""What a row says: its reply, its fields, the facts of its call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from synth.core.errors import RowFault
from synth.core.records import Row, canonical_json


def text_of(row: Row) -> str:
    """The raw reply of a row: its `reply`, else its `completion`."""
    return str(row.get("reply") or row.get("completion") or "")


def field_text(row: Row, field: str) -> str:
    """The text of a field; the raw reply where a row lacks it, or has it empty."""
    return str(row.get(field) or text_of(row))


def rank_of(row: Row, field: str, where: str) -> float:
    """The number in a field that ranks rows, also as text; 0 where the field is empty.

    Raises:
        RowFault: another text, NaN or infinity, which would make the order depend on places.
    """
    value = row.get(field)
    try:
        number = float(value or 0)
    except (TypeError, ValueError, OverflowError):
        number = nan
    if not isfinite(number):
        raise RowFault(
            f"{where}:by={field}",
            f"{value!r}"[:80],
            "a number",
            "Let a filter or a parser write it, or name another field.",
        )
    return number


def seeds_of(rows: Sequence[Row], column: str) -> list[str]:
    """What the rows of one seed share; a row that lacks the column stands alone.

    >>> seeds_of([{"question": "a"}, {}, {"question": "a"}, {}], "question")
    ['a', 'row 1', 'a', 'row 3']
    """
    return [
        str(row[column]) if row.get(column) is not None else f"row {place}"
        for place, row in enumerate(rows)
    ]


def row_digest(row: Row) -> bytes:
    """32 bytes of a row without its marks: an order of rows that their places cannot change."""
    unmarked = dict(row)
    unmarked.pop("marks", None)
    content = canonical_json(unmarked)
    digest = hashlib.sha256(content)
    return digest.digest()


def meta_of(row: Row, name: str) -> Any:
    """A fact about the call: a column of the row, or of its `meta`."""
    value = row.get(name)
    if value is None:
        meta = row.get("meta")
        value = meta.get(name) if isinstance(meta, Mapping) else None
    return value
