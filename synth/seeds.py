"""A file of inputs -> Seed. Streams; ids come from content (or the id column), never from positions.

FILE is .jsonl, .json, .csv or .parquet, `-` for standard input, a run folder, or a dataset name that
`datasets.load_dataset` knows. Every row is read and checked once before the first call.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from synth.errors import WrongUse
from synth.records import Row, Seed, seed_id

Check = Callable[[Row, str], None]
# Bytes that are read at once.
_CHUNK = 1 << 20


class BeyondFloat(int):
    """Stands for whole numbers that a float would round."""


class BeyondInt(int):
    """Stands for whole numbers that 64 bits cannot hold."""


def kind_of(value: Any) -> type:
    """The type of a value; whole numbers that not every column can hold have types of their own."""
    kind = type(value)
    if kind is not int or -(1 << 53) <= value <= 1 << 53:
        return kind
    return BeyondFloat if -(1 << 63) <= value < 1 << 63 else BeyondInt


@dataclass(frozen=True)
class Scan:
    """What the first pass saw: how many rows, and the kinds of value in every column (`name[]` for a list's elements)."""

    rows: int
    kinds: Mapping[str, frozenset[type]]


class Seeds:
    """Rows from a file or from memory, iterated as often as wanted.

    Args:
        source: path, `-`, dataset name, or an iterable of mappings (kept as a list).
        limit: at most this many rows, counted from the first.
        id_column: column that holds the user's own ids; rows without it are known by their content.
        rename: maps input columns to names of the pack, e.g. {"answer": "target"}.
    """

    def __init__(
        self,
        source: str | Path | Iterable[Row],
        *,
        limit: int | None = None,
        id_column: str = "id",
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self.where, self._read = _reader(source)
        self.limit, self.id_column, self.rename = limit, id_column, dict(rename or {})

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, row) pairs; the place is `file:line` where there are lines."""
        for number, (place, row) in enumerate(self._read()):
            if self.limit is not None and number >= self.limit:
                return
            if not isinstance(row, dict):
                todo = "Write one JSON object per line."
                raise WrongUse(place, f"{type(row).__name__} {str(row)[:40]!r}", "an object with named fields", todo)
            yield place, {str(self.rename.get(k, k)): v for k, v in row.items()} if self.rename else row

    def __iter__(self) -> Iterator[Seed]:
        for _, row in self.rows():
            given = row.pop(self.id_column, None) if self.id_column in row else None
            yield Seed(str(given) if given is not None else seed_id(row), row)

    def scan(self, check: Check | None = None) -> Scan:
        """Reads everything once; `check` raises WrongUse for a row that the pack cannot use.

        Raises:
            WrongUse: an unreadable row (with its line), or no row at all.
        """
        kinds: dict[str, set[type]] = {}
        count = 0
        for place, row in self.rows():
            count += 1
            if check:
                check(row, place)
            for name, value in row.items():
                kinds.setdefault(name, set()).add(kind_of(value))
                if type(value) is list:
                    kinds.setdefault(f"{name}[]", set()).update(map(kind_of, value))
        if not count:
            raise WrongUse(self.where, "no rows", "at least one row", "Check the file and --limit.")
        kinds.pop(self.id_column, None)
        return Scan(count, {name: frozenset(seen) for name, seen in kinds.items()})


def read_rows(source: str | Path | Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Plain rows of any source that Seeds reads."""
    for _, row in Seeds(source).rows():
        yield row


def _reader(source: str | Path | Iterable[Row]) -> tuple[str, Callable[[], Iterator[tuple[str, Any]]]]:
    if not isinstance(source, str | Path):
        rows = source if isinstance(source, list) else list(source)
        return "rows", lambda: ((f"row {n}", dict(row)) for n, row in enumerate(rows, 1))
    if str(source) == "-":
        spool = _Spool(sys.stdin.buffer)
        return "standard input", lambda: _json_lines(spool.lines(), "standard input")
    path = Path(source)
    if path.is_dir() or path.suffix in _READERS:
        read = _READERS.get(path.suffix, _folder) if not path.is_dir() else _folder
        if not path.exists():
            raise WrongUse(str(path), "no such file", "an input file", "Check the path.")
        return str(path), lambda: read(path, str(path))
    if path.exists() or path.suffix:
        known = ", ".join(_READERS)
        got = "no such file" if not path.exists() else f"ending {path.suffix!r}"
        raise WrongUse(str(path), got, f"a file ending in {known}, a folder, `-` or a dataset name", "Check the path.")
    return str(source), lambda: _hub(str(source))


class _Spool:
    """Standard input in a file without a name: it is read more than once, and nothing of it stays however the process ends."""

    def __init__(self, source: BinaryIO) -> None:
        self._file = tempfile.TemporaryFile("w+b", prefix="synth-")  # noqa: SIM115 - it lives as long as its reader
        shutil.copyfileobj(source, self._file)
        self._file.flush()

    def lines(self) -> Iterator[bytes]:
        """Every line from the first; several readers do not disturb each other."""
        with os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0) as shared:
            yield from io.BufferedReader(_At(shared.fileno()), _CHUNK)


class _At(io.RawIOBase):
    """Reads a file descriptor from its start, whatever others read of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._place = descriptor, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with what follows."""
        part = os.pread(self._descriptor, len(buffer), self._place)
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def _jsonl(path: Path, where: str) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as lines:
        yield from _json_lines(lines, where)


def _json_lines(lines: Iterable[bytes], where: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            yield f"{where}:{number}", orjson.loads(line)
        except ValueError as error:
            got = f"broken JSON ({error}) in {line[:60]!r}"
            raise WrongUse(f"{where}:{number}", got, "one JSON object per line", "Correct that line.") from error


def _json(path: Path, where: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = orjson.loads(path.read_bytes())
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise WrongUse(f"{where}:{line}", f"broken JSON ({error})", "a list of objects", "Correct the file.") from error
    if not isinstance(rows, list):
        raise WrongUse(where, type(rows).__name__, "a list of objects", "Wrap the rows in [...], or write .jsonl.")
    for number, row in enumerate(rows, 1):
        yield f"{where} row {number}", row


def _csv(path: Path, where: str) -> Iterator[tuple[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        for row in _sound(reader, where, "a UTF-8 table of cells", lambda: reader.line_num):
            place = f"{where}:{reader.line_num}"
            if None in row or None in row.values():
                wanted = f"{len(reader.fieldnames or [])} cells, as in the header"
                raise WrongUse(place, "a row of another length", wanted, "Quote cells that hold commas.")
            yield place, row


def _parquet(path: Path, where: str) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - 0.2 s that a JSONL user need not pay

    def rows() -> Iterator[dict[str, Any]]:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            yield from batch.to_pylist()

    for number, row in enumerate(_sound(rows(), where, "a parquet file"), 1):
        yield f"{where} row {number}", row


def _sound(rows: Iterable[Any], where: str, wanted: str, line: Callable[[], int] | None = None) -> Iterator[Any]:
    """The same rows; what a reader raises over a broken file becomes one error of ours."""
    try:
        yield from rows
    except (csv.Error, ValueError, OSError) as error:
        place = f"{where}:{line() + 1}" if line else where
        raise WrongUse(place, f"{type(error).__name__}: {str(error)[:200]}", wanted, "Correct the file, or write it again.") from error


def _folder(path: Path, where: str) -> Iterator[tuple[str, Any]]:
    """A run folder's kept rows (data/*.parquet), or every readable file of a folder, by name."""
    files = sorted((path / "data").glob("*.parquet")) or sorted(f for f in path.iterdir() if f.suffix in _READERS)
    if not files:
        raise WrongUse(where, "a folder without rows", f"a run folder, or files ending in {', '.join(_READERS)}", "Check the path.")
    for file in files:
        yield from _READERS[file.suffix](file, str(file))


def _hub(name: str) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset  # noqa: PLC0415 - seconds, and only for names

    path, _, split = name.partition(":")
    try:
        rows = load_dataset(path, split=split or "train")
    except Exception as error:
        todo = "Check the path, or write NAME:SPLIT for a dataset of the hub."
        raise WrongUse(name, f"neither a file nor a dataset ({type(error).__name__}: {error})", "an input", todo) from error
    for number, row in enumerate(rows, 1):
        yield f"{name} row {number}", dict(row)


_READERS: dict[str, Callable[[Path, str], Iterator[tuple[str, Any]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def write_jsonl(path: Path, rows: Iterable[Row]) -> int:
    """Writes rows, one JSON object a line; returns how many."""
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        for row in rows:
            out.write(json_line(row))
            count += 1
    return count


def json_line(row: Row) -> bytes:
    """One JSON line; text with lone surrogates, which UTF-8 cannot hold, is written with escapes."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE, default=str)
    except TypeError:
        return json.dumps(row, default=str).encode() + b"\n"
