"""Inputs -> Seed. Streams; ids come from content (or the id column), never from positions.

An input is a path (see `inputs.readers`), several paths, a pattern, `-` for standard input, a
dataset's name, a table, or rows. Every row is read and checked once before the first call.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import stat
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import (
    Fields,
    Row,
    Seed,
    canonical_json,
    finite,
    seed_id,
)
from synth.inputs.files import ending_of, expand, is_remote, shown
from synth.inputs.readers import (
    READERS,
    Rows,
    check_source,
    hub_rows,
    json_lines,
    rows_of,
    split_of,
)
from synth.inputs.tables import is_several, rows_in
from synth.inputs.values import Base64, read_json

# How long a pipe may stay without a word.
PIPE_SECONDS = 10.0
Check = Callable[[Row, str], None]
Source = Any
# Bytes that are read at once.
_CHUNK = 1 << 20
_MASK = (1 << 64) - 1
# Up to so many rows, a set of their ids takes less time than the import of numpy.
_FEW_ROWS = 100_000
# A file of text up to this size is read once: its rows stay, in some ten times as many bytes.
KEPT_BYTES = 8 << 20
TEXTS = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv"})


class BeyondFloat(int):
    """Stands for whole numbers that a float would round."""


class BeyondInt(int):
    """Stands for whole numbers that 64 bits cannot hold."""


# Types whose values are all of one kind.
_PLAIN = frozenset({str, bool, float, type(None)})
_MOST_SHAPES = 1000


def kind_of(value: Any) -> type:
    """The type of a value; whole numbers that not every column can hold have types of their own."""
    kind = str if type(value) is Base64 else type(value)
    if kind is not int or -(1 << 53) <= value <= 1 << 53:
        return kind
    return BeyondFloat if -(1 << 63) <= value < 1 << 63 else BeyondInt


@dataclass(frozen=True)
class Scan:
    """What the first pass saw: how many rows, the kinds of value in every column (`name[]` for a
    list's elements), the golds in words.
    """

    rows: int
    kinds: Mapping[str, frozenset[type]]
    golds: str = ""


class Seeds:
    """Rows from files or from memory, iterated as often as wanted.

    Args:
        source: path or paths, pattern, `-`, dataset name, DataFrame, `datasets.Dataset`, or an
            iterable of mappings (kept as a list).
        limit: at most this many rows, counted from the first.
        id_column: column that holds the user's own ids; rows without it are known by their content.
        columns: new name -> name in the input, e.g. {"question": "prompt"}.
        rename: maps input columns to names of the pack, e.g. {"answer": "target"}.
    """

    def __init__(
        self,
        source: Source,
        *,
        limit: int | None = None,
        id_column: str = "id",
        columns: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self.where, self._read = _reader(source)
        self.limit = limit
        self.id_column = id_column
        self.rename = dict(rename or {})
        self._columns = {old: new for new, old in (columns or {}).items()}

    def rows(self) -> Iterator[tuple[str, Fields]]:
        """(place, row) pairs; the place is `file:line` where there are lines."""
        for location, row in islice(self._read(), self.limit):
            if not isinstance(row, dict):
                todo = "Write one JSON object per line."
                raise WrongUse(
                    location,
                    f"{type(row).__name__} {str(row)[:40]!r}",
                    "an object with named fields",
                    todo,
                )
            if self._columns:
                row = self._renamed(row, location)  # noqa: PLW2901 - under its new names
            if self.rename:
                rename = self.rename.get
                row = {str(rename(k, k)): v for k, v in row.items()}  # noqa: PLW2901 - as above
            yield location, row

    def _renamed(self, row: Fields, location: str) -> Fields:
        """The row under the names of `--column`."""
        missing = next((old for old in self._columns if old not in row), None)
        if missing is not None:
            got = f"fields {', '.join(map(str, row)) or '(none)'}"
            new = self._columns[missing]
            turned = f"Turn it round: --column {missing}={new}."
            raise WrongUse(
                location,
                got,
                f"field {missing!r}, as --column says",
                turned if new in row else did_you_mean(missing, map(str, row)),
            )
        taken = next(
            (
                new
                for old, new in self._columns.items()
                if new in row and new not in self._columns
            ),
            None,
        )
        if taken is not None:
            got = f"a field {taken!r} beside the one that --column calls so"
            raise WrongUse(
                location,
                got,
                "each name once",
                "Give the one that stands there another name, with --column too.",
            )
        return {
            self._columns.get(name, name): value for name, value in row.items()
        }

    def __iter__(self) -> Iterator[Seed]:
        for _, row in self.rows():
            given = (
                row.pop(self.id_column, None) if self.id_column in row else None
            )
            yield Seed(str(given) if given is not None else seed_id(row), row)

    def scan(self, check: Check | None = None) -> Scan:
        """Reads everything once; `check` raises WrongUse for a row that the pack cannot use.

        Raises:
            WrongUse: an unreadable row (with its line), no row at all, or an id that names two
                contents.
        """
        kinds: dict[str, set[type]] = {}
        ids = _Ids()
        count = 0
        # Columns with their types, of rows whose kinds these types tell.
        shapes: set[tuple[Any, ...]] = set()
        for location, row in self.rows():
            count += 1
            if check:
                check(row, location)
            if row.get(self.id_column) is not None:
                ids.add(row, self.id_column)
            types = tuple(map(type, row.values()))
            shape = (*row, *types)
            if shape in shapes:
                continue
            if _PLAIN.issuperset(types) and len(shapes) < _MOST_SHAPES:
                shapes.add(shape)
            for name, value in row.items():
                kinds.setdefault(name, set()).add(kind_of(value))
                if type(value) is list:
                    kinds.setdefault(f"{name}[]", set()).update(
                        map(kind_of, value)
                    )
        if not count:
            raise WrongUse(
                self.where,
                "no rows",
                "at least one row",
                "Check the file and --limit.",
            )
        if ids.clash():
            self._name_clash()
        kinds.pop(self.id_column, None)
        return Scan(
            count, {name: frozenset(seen) for name, seen in kinds.items()}
        )

    def _name_clash(self) -> None:
        """Finds two rows that share an id and nothing else, and says where they stand.

        Raises:
            WrongUse: always.
        """
        first: dict[str, tuple[str, bytes]] = {}
        for location, row in self.rows():
            given = row.get(self.id_column)
            content = canonical_json(row)
            if given is None:
                continue
            where, before = first.setdefault(str(given), (location, content))
            if before != content:
                got = f"{self.id_column} {str(given)[:40]!r}, which {where} has with other content"
                todo = "Give every row an id of its own, or name another column with --id-column."
                raise WrongUse(location, got, "one content for each id", todo)


class _Ids:
    """Whether each id names one content: 16 bytes a row, two rows of a million are taken for one
    another once in 10**7 inputs.
    """

    def __init__(self) -> None:
        self._ids = array("Q")
        self._contents = array("Q")

    def add(self, row: Row, column: str) -> None:
        self._ids.append(hash(str(row[column])) & _MASK)
        self._contents.append(hash(canonical_json(row)) & _MASK)

    def clash(self) -> bool:
        few = len(self._ids) <= _FEW_ROWS
        if few and len(set(self._ids)) == len(self._ids):
            return False
        import numpy as np  # noqa: PLC0415 - 0.1 s, and not for a small input without a repeated id

        ids = np.array(self._ids)
        contents = np.array(self._contents)
        order = np.argsort(ids, kind="stable")
        same = ids[order][1:] == ids[order][:-1]
        return bool(
            (same & (contents[order][1:] != contents[order][:-1])).any()
        )


def read_rows(source: Source) -> Iterator[Fields]:
    """Plain rows of any source that Seeds reads."""
    for _, row in Seeds(source).rows():
        yield row


def _reader(source: Source) -> tuple[str, Callable[[], Rows]]:
    """(what the input is called, what reads it)."""
    if is_several(source):
        readers = [_reader(part) for part in source]
        names = [name for name, _ in readers]
        where = (
            names[0]
            if len(names) == 1
            else f"{names[0]} and {len(names) - 1:,} more"
        )
        return where, lambda: (pair for _, read in readers for pair in read())
    if not isinstance(source, str | Path):
        rows = rows_in(source)
        return "rows", lambda: (
            (f"row {n}", dict(row)) for n, row in enumerate(rows, 1)
        )
    if str(source) == "-":
        spool = _Spool(sys.stdin.buffer)
        return "standard input", lambda: json_lines(
            spool.lines(), "standard input"
        )
    return _named(str(source))


def _named(source: str) -> tuple[str, Callable[[], Rows]]:
    """What reads a path, a pattern, a store's URL or a dataset's name."""
    path, split = split_of(source)
    files = expand(path)
    if len(files) > 1:
        return _reader(files)
    file = files[0]
    if not is_remote(file) and _is_pipe(file):
        with _open_pipe(file) as pipe:
            spool = _Spool(pipe)
        return source, lambda: json_lines(spool.lines(), source)
    looks_like_a_file = (
        is_remote(file)
        or ending_of(file) in READERS
        or Path(file).suffix
        or Path(file).exists()
    )
    if not looks_like_a_file:
        return source, lambda: hub_rows(source)
    check_source(file)
    read = partial(rows_of, file, split)
    return shown(source), kept(read) if _is_small(file) else read


def _is_small(file: str) -> bool:
    """Whether the rows of a file of text may stay in memory."""
    if is_remote(file) or Path(file).suffix.lower() not in TEXTS:
        return False
    return Path(file).stat().st_size <= KEPT_BYTES


def kept(read: Callable[[], Rows]) -> Callable[[], Rows]:
    """What reads rows once, and gives them again to whoever asks after the last one was read. A row
    may be changed, what stands in its columns may not.
    """
    rows: list[tuple[str, Any]] | None = None

    def reading() -> Rows:
        nonlocal rows
        if rows is not None:
            for place, row in rows:
                yield place, row.copy() if type(row) is dict else row
            return
        fresh = []
        for place, row in read():
            fresh.append((place, row))
            yield place, row.copy() if type(row) is dict else row
        rows = fresh

    return reading


def _open_pipe(path: str) -> BinaryIO:
    """A pipe that somebody writes into: opening one that nobody does would wait for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not select.select([handle], [], [], PIPE_SECONDS)[0]:
        os.close(handle)
        raise WrongUse(
            path,
            f"a pipe that nobody wrote into for {PIPE_SECONDS:g} s",
            "rows",
            "Start what writes into it first.",
        )
    os.set_blocking(handle, True)
    return os.fdopen(handle, "rb")


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except OSError:
        return False


class _Spool:
    """Standard input in a file without a name: it is read more than once, and nothing of it stays
    however the process ends.
    """

    def __init__(self, source: BinaryIO) -> None:
        # It lives as long as its reader.
        self._file = tempfile.TemporaryFile("w+b", prefix="synth-")  # noqa: SIM115
        shutil.copyfileobj(source, self._file)
        self._file.flush()

    def lines(self) -> Iterator[bytes]:
        """Every line from the first; several readers do not disturb each other."""
        with os.fdopen(
            os.dup(self._file.fileno()), "rb", buffering=0
        ) as shared:
            yield from io.BufferedReader(_At(shared.fileno()), _CHUNK)


class _At(io.RawIOBase):
    """Reads a file descriptor from its start, whatever others read of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0

    def readable(self) -> bool:
        """True: `io.RawIOBase` asks before it reads."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with what follows."""
        part = os.pread(self._descriptor, len(buffer), self._offset)
        buffer[: len(part)] = part
        self._offset += len(part)
        return len(part)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that appears under its name when it is whole; what stood there stays
    until then.

    What is no regular file (`/dev/stdout`, a pipe) is written as it is.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".potstill-{os.getpid()}{path.suffix[:16]}"
    try:
        yield aside
        if path.exists():
            aside.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(aside, path.resolve())  # noqa: PTH105 - the atomic one; a link stays one
    finally:
        aside.unlink(missing_ok=True)


def write_jsonl(path: Path, rows: Iterable[Row]) -> int:
    """Writes rows, one JSON object a line; returns how many."""
    count = 0
    with whole_file(path) as aside, aside.open("wb") as out:
        for row in rows:
            out.write(json_line(row))
            count += 1
    return count


def json_line(row: Row) -> bytes:
    """One JSON line; text with lone surrogates, which UTF-8 cannot hold, is written with
    escapes.
    """
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE, default=str)
    except TypeError:
        return json.dumps(finite(row), default=str).encode() + b"\n"


def read_line(text: bytes) -> Any:
    """What `json_line` wrote: every whole number and every lone surrogate as it was.

    Raises:
        ValueError: no JSON.
    """
    try:
        return read_json(text, twins=False)
    except ValueError:
        return json.loads(text)
