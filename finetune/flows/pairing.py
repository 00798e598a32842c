"""The stage `pair`: better rows over worse ones that share the value of a column."""

from __future__ import annotations

from finetune.core.rows import JsonObject
from finetune.flows.selecting import key_of
from synth.core.errors import WrongUse


def of_item(row: JsonObject, column: str, where: str) -> JsonObject:
    """A row whose `id` is what both sides of a pair share.

    Raises:
        WrongUse: it lacks the column or its text.
    """
    for name in (column, "completion"):
        if row.get(name) is None:
            raise WrongUse(
                where,
                f"a row without {name!r}: {', '.join(row)}",
                f"{column} and completion",
                "Write them with a `select` before.",
            )
    return {**row, "id": key_of(row, column)}
