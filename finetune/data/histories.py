"""Items with their texts, and what users chose one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from synth.core.errors import WrongUse

# Items that a history must have: one to go on from and one to come.
_LEAST = 2


def _name(value: object) -> str | None:
    """The name of an item, a text or a whole number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) if str(value).strip() else None


class Catalogue(NamedTuple):
    """All items.

    Attributes:
        items: their names.
        texts: what is said of each.
        numbers: name -> place in both.
    """

    items: Sequence[str]
    texts: Sequence[str]
    numbers: Mapping[str, int]


def read_catalogue(source: str) -> Catalogue:
    """The items of rows with `item` and `text`.

    Raises:
        WrongUse: a column is missing, a cell is empty, a name is neither a text nor a whole
            number, or an item stands twice.
    """
    items: list[str] = []
    texts: list[str] = []
    numbers: dict[str, int] = {}
    table = rows.columns(rows.load(source), ("item", "text"), source)

    def read(number: int, row: JsonObject) -> None:
        where = f"--items {source} row {number}"
        name, text = _name(row["item"]), row["text"]
        if name is None or not isinstance(text, str) or not text.strip():
            raise WrongUse(
                where,
                f"item {row['item']!r:.80}, text {text!r:.80}",
                "a name and a text",
                "Fill them in, or take the row out.",
            )
        if name in numbers:
            raise WrongUse(
                where,
                f"the item {name!r} for the second time",
                "each item once",
                "Take one of them out.",
            )
        numbers[name] = len(items)
        items.append(name)
        texts.append(text)

    each_row(table, read)
    return Catalogue(items, texts, numbers)


def read_histories(source: str, known: Mapping[str, int]) -> list[list[int]]:
    """Numbers of the items of each row with `items`, the earliest first.

    Args:
        source: the rows.
        known: name -> number of an item.

    Raises:
        WrongUse: a row without a list of items, one of a single item, or an item that the
            catalogue lacks.
    """
    table = rows.columns(rows.load(source), ("items",), source)
    return each_row(
        table,
        lambda number, row: _history(
            row["items"], known, f"--input {source} row {number}"
        ),
    )


def _history(listed: object, known: Mapping[str, int], where: str) -> list[int]:
    if not isinstance(listed, list) or len(listed) < _LEAST:
        raise WrongUse(
            where,
            f"items {listed!r:.80}",
            f"a list of {_LEAST} items or more",
            "Write them in their order, or take the row out.",
        )
    history = []
    for item in listed:
        name = _name(item)
        if name is None or name not in known:
            raise WrongUse(
                where,
                f"the item {item!r:.80}, which --items lacks",
                "items that have a text",
                "Give it a row of --items, or take it out of the history.",
            )
        history.append(known[name])
    return history
