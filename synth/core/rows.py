"""What a row says: its reply, its fields, the facts of its call."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from math import isfinite, isnan, nan
from typing import Any

from synth.core.errors import RowFault
from synth.core.records import Row, canonical_json

# Digits alone: no exponent, no `nan`, no `1_000`.
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def text_of(row: Row) -> str:
    """The raw reply of a row: its `reply`, else its `completion`."""
    return str(row.get("reply") or row.get("completion") or "")


def first_given(row: Row, names: Sequence[str]) -> Any:
    """The value of the first of some columns that a row has; None where it has none.

    >>> first_given({"gold": None, "label": 0}, ["answer", "gold", "label"])
    0
    """
    if not names or row.keys().isdisjoint(names):
        return None
    for value in map(row.get, names):
        if value is not None:
            return value
    return None


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


def number_of(value: Any) -> int | float | None:
    """A number, or a text that says just one, as what stands between tags does; else None.

    >>> number_of(4), number_of(" 4.5 "), number_of("-1"), number_of("4 of 5")
    (4, 4.5, -1.0, None)
    >>> number_of(True), number_of(float("nan")), number_of("nan")
    (None, None, None)
    """
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isnan(value) else value
