"""Rows of two texts: a prompt and its completion."""

from __future__ import annotations

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from synth.core.errors import WrongUse

COLUMNS = ("prompt", "completion")


def pairs(source: str, flag: str) -> list[JsonObject]:
    """Rows of `prompt` and `completion`, which are texts.

    Raises:
        WrongUse: a column is missing, or a cell is no text.
    """
    found = [
        dict(row) for row in rows.columns(rows.load(source), COLUMNS, source)
    ]
    each_row(
        found, lambda number, row: _check(row, f"{flag} {source} row {number}")
    )
    return found


def _check(row: JsonObject, where: str) -> None:
    for name in COLUMNS:
        if not isinstance(row[name], str) or not row[name].strip():
            raise WrongUse(
                f"{where} {name}",
                f"{row[name]!r}"[:80],
                "a text",
                "Write one, or leave the row out.",
            )
