"""What a row says: its reply, its fields, the facts of its call."""

from __future__ import annotations

import hashlib
from typing import Any

from synth.core.records import Row, canonical_json


def text_of(row: Row) -> str:
    """The raw reply of a row: its `reply`, else its `completion`."""
    return str(row.get("reply") or row.get("completion") or "")


def field_text(row: Row, field: str) -> str:
    """The text of a field; the raw reply where a row lacks it, or has it empty."""
    return str(row.get(field) or text_of(row))


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
        meta = row.get("meta") or {}
        value = meta.get(name)
    return value
