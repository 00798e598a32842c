"""Rows of two texts: a prompt and its completion."""

from __future__ import annotations

from finetune.core.rows import JsonObject
from finetune.data import rows
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
    for number, row in enumerate(found, 1):
        for name in COLUMNS:
            if not isinstance(row[name], str) or not row[name].strip():
                raise WrongUse(
                    f"{flag} {source} row {number} {name}",
                    f"{row[name]!r}"[:80],
                    "a text",
                    "Write one, or leave the row out.",
                )
    return found
