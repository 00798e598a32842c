"""Which cell of a column is the odd one: that of another kind than most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune.core.rows import JsonObject

# The whole numbers that tables hold.
_LARGEST = 2**63 - 1
WHOLE = "whole number"
BEYOND = "whole number beyond 64 bits"
FRACTION = "fraction"
_NUMERAL = "text of a number"
_NAMES = {"str": "text", "bool": "flag", "dict": "mapping", "NoneType": "null"}


def kind_of(value: object) -> str:
    """What a cell is, in words; a table may hold whole numbers as fractions and numbers as texts.

    >>> kind_of(2.0), kind_of("1.5"), kind_of("no"), kind_of([1])
    ('whole number', 'text of a number', 'text', 'list')
    """
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return WHOLE if abs(value) <= _LARGEST else BEYOND
    if isinstance(value, float):
        held = value.is_integer() and abs(value) < 2.0**63
        return WHOLE if held else FRACTION
    if isinstance(value, str) and _is_numeral(value):
        return _NUMERAL
    name = type(value).__name__
    return _NAMES.get(name, name)


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def first_misfit(
    cells: Sequence[object], fits: Callable[[object], bool]
) -> int | None:
    """The place, from 0, of the cell to name where some do not fit: the first of another kind than
    most, else the first. None where all fit.

    >>> first_misfit(["1", "2", "x"], lambda cell: isinstance(cell, float))
    2
    """
    misfits = [place for place, cell in enumerate(cells) if not fits(cell)]
    if not misfits:
        return None
    kinds = Counter(kind_of(cell) for cell in cells if cell is not None)
    usual = max(kinds, key=kinds.__getitem__, default="")
    return next(
        (place for place in misfits if kind_of(cells[place]) != usual),
        misfits[0],
    )


@dataclass
class _Kind:
    """Cells of one kind: how many, and the first with its place."""

    place: str
    first: Any
    count: int = field(default=0)


def told(rows: Iterable[tuple[str, object]]) -> str:
    """The first column that holds several kinds, and the cell whose kind is the rarest; "" where
    there is none.

    Args:
        rows: (place, row); what is no mapping says nothing.
    """
    columns: dict[str, dict[str, _Kind]] = {}
    for place, row in rows:
        for name, value in row.items() if isinstance(row, dict) else ():
            if value is None:
                continue
            kinds = columns.setdefault(name, {})
            kind = _held_as(value)
            kinds.setdefault(kind, _Kind(place, value)).count += 1
    for name, kinds in columns.items():
        found = _odd_one(name, kinds)
        if found:
            return found
    return ""


def _held_as(value: object) -> str:
    """The kind of a cell to a table, which holds whole numbers and fractions together, and any text
    as a text.
    """
    kind = kind_of(value)
    if kind in (WHOLE, FRACTION):
        return "number"
    return "text" if kind == _NUMERAL else kind


def _odd_one(name: str, kinds: dict[str, _Kind]) -> str:
    # Of equals the later one is odd.
    listed = sorted(kinds.items(), key=lambda pair: -pair[1].count)
    usual, rarest = listed[0], listed[-1]
    kind, cells = rarest
    found = f"{name} = {cells.first!r:.80} in {cells.place}, a {kind}"
    if len(listed) == 1:
        return found if kind == BEYOND else ""
    usual_kind, others = usual
    rows = "1 row"
    if others.count > 1:
        rows = f"{others.count:,} rows"
    return f"{found}, and a {usual_kind} in {rows} (first: {others.place})"


def as_said(
    rows: Iterable[tuple[str, object]], names: Sequence[str]
) -> JsonObject:
    """The cells of columns as a file says them, None where a row lacks one.

    Args:
        rows: (place, row).
        names: of the columns.
    """
    cells: JsonObject = {name: [] for name in names}
    for _, row in rows:
        said = row if isinstance(row, dict) else {}
        for name in names:
            cells[name].append(said.get(name))
    return cells
