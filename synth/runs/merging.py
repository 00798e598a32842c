"""Rows of many run folders in the order of one input, a block at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.inputs.parts import POSITION
from synth.inputs.seeds import json_line, read_line
from synth.runs.batches import AGAIN, batches

# Rows that all folders together hold in memory.
_HELD = 200_000
_FEWEST = 64


def merged_rows(
    folders: Sequence[Path], part: str, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Tables of the rows in `data` or `dropped` of every folder, by their place in the input.

    Args:
        folders: run folders whose rows have a place; those of one folder stand in its order.
        part: `data` or `dropped`.
        schema: columns of the tables; the place is none of them.

    Raises:
        WrongUse: a file that is broken, or of other columns.
    """
    batch_size = max(_FEWEST, _HELD // max(1, len(folders)))
    shelves = [_Shelf(folder / part, schema, batch_size) for folder in folders]
    while shelves := [shelf for shelf in shelves if shelf.filled()]:
        # Up to here every folder has shown what it holds.
        end = min(shelf.last for shelf in shelves)
        pieces = [shelf.take(end) for shelf in shelves]
        places = np.concatenate([places for places, _ in pieces])
        rows = pa.concat_tables([rows for _, rows in pieces])
        yield rows.take(pa.array(np.argsort(places, kind="stable")))


class _Shelf:
    """The rows of one folder that were read and not taken yet."""

    def __init__(
        self, folder: Path, schema: pa.Schema, batch_size: int
    ) -> None:
        self._batches = _batches(folder, schema, batch_size)
        self._rows = schema.empty_table()
        self._places = np.array([], dtype=np.int64)
        self._highest = 0

    @property
    def last(self) -> int:
        """The place of the last row that was read."""
        return int(self._places[-1])

    def filled(self) -> bool:
        """Reads on where all is taken; false at the end."""
        while not len(self._places):
            batch = next(self._batches, None)
            if batch is None:
                return False
            places, self._rows = batch
            # A row that no column could hold stands behind rows that came after it.
            self._places = np.maximum.accumulate(
                np.maximum(places, self._highest),
            )
            if len(places):
                self._highest = self.last
        return True

    def take(self, end: int) -> tuple[np.ndarray, pa.Table]:
        """(places, rows) up to a place, that one included."""
        count = int(np.searchsorted(self._places, end, side="right"))
        places = self._places[:count]
        rows = self._rows.slice(0, count)
        self._places = self._places[count:]
        self._rows = self._rows.slice(count)
        return places, rows


def _batches(
    folder: Path, schema: pa.Schema, batch_size: int
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """(places, rows) of a folder's files, in order."""
    for batch in batches(folder, rows=batch_size):
        try:
            table = pa.Table.from_batches([batch])
            places = table.column(POSITION).cast(pa.int64()).to_numpy()
            rows = table.select(schema.names).cast(schema)
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise WrongUse(
                str(folder),
                f"{type(error).__name__}: {str(error)[:200]}",
                "rows of a shard of this run",
                AGAIN,
            ) from error
        yield places, rows


def grouped(
    tables: Iterator[pa.Table], most_rows: int, most_characters: int
) -> Iterator[pa.Table]:
    """The same rows in tables of so many rows; fewer where their replies and prompts are long."""
    rest: pa.Table | None = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while end := _group_end(rest, most_rows, most_characters):
            yield rest.slice(0, end).combine_chunks()
            rest = rest.slice(end)
    if rest is not None and rest.num_rows:
        yield rest.combine_chunks()


def over_target(
    tables: Iterator[pa.Table], most: int, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Kept rows behind so many of them, as dropped ones."""
    passed = 0
    for table in tables:
        first = max(0, most - passed)
        rest = table.slice(first)
        passed += table.num_rows
        if not rest.num_rows:
            continue
        for name, text in (("reason", "over_target"), ("detail", "")):
            texts = [text] * rest.num_rows
            column = pa.array(texts, pa.string())
            rest = rest.append_column(name, column)
        rest = rest.select(schema.names)
        yield rest.cast(schema)


def _group_end(
    table: pa.Table, most_rows: int, most_characters: int
) -> int | None:
    """How many rows the first group of a table has; None where more rows may join it."""
    head = table.slice(0, most_rows)
    characters = np.zeros(head.num_rows, dtype=np.int64)
    for name in ("reply", "prompt"):
        if name in head.schema.names:
            lengths = pc.utf8_length(head.column(name)).fill_null(0)
            characters += lengths.to_numpy()
    full = np.flatnonzero(np.cumsum(characters) >= most_characters)
    if len(full):
        return int(full[0]) + 1
    return most_rows if head.num_rows == most_rows else None


def merged_failures(folders: Sequence[Path]) -> Iterator[bytes]:
    """The lines of every folder's failed.jsonl, by their place in the input and without it."""
    streams = [_failures(folder / "failed.jsonl") for folder in folders]
    for _, row in heapq.merge(*streams, key=lambda pair: pair[0]):
        yield json_line(row)


def _failures(file: Path) -> Iterator[tuple[int, Fields]]:
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = read_line(line)
                place = int(row.pop(POSITION))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WrongUse(
                    f"{file}:{number}",
                    f"{error!r}"[:200],
                    "a failed row of a shard",
                    AGAIN,
                ) from error
            yield place, row
