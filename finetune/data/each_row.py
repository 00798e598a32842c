"""All rows are looked at before one is refused, so that a file is mended once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from synth.core.errors import WrongUse

_SHOWN = 3
Given = TypeVar("Given")
Made = TypeVar("Made")


def each_row(
    rows: Iterable[Given], read: Callable[[int, Given], Made]
) -> list[Made]:
    """What is made of each row.

    Args:
        rows: in their order.
        read: makes it of a row's number, from 1, and the row.

    Raises:
        WrongUse: the first fault, with the number of all rows that are refused, and the first of
            them.

    >>> each_row("ab", lambda number, row: row * number)
    ['a', 'bb']
    """
    made: list[Made] = []
    refused: list[int] = []
    first: WrongUse | None = None
    count = 0
    for number, row in enumerate(rows, 1):
        count = number
        try:
            made.append(read(number, row))
        except WrongUse as error:
            first = first or error
            refused.append(number)
    if first is not None:
        raise _of_all(first, refused, count)
    return made


def _of_all(first: WrongUse, refused: list[int], count: int) -> WrongUse:
    """The first fault, once it speaks of the others."""
    if len(refused) == 1:
        return first
    where, got, wanted, todo = first.args
    shown = ", ".join(map(str, refused[:_SHOWN]))
    also = f"{len(refused):,} of {count:,} rows are refused, the first: rows {shown}"
    # Long cells are quoted by their beginning.
    fault = type(first)(where, f"{str(got)[:1000]} ({also})", wanted, todo)
    fault.__cause__ = first.__cause__
    return fault
