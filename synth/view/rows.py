"""Rows of a run by number: any row, any page of them, and which rows left for a reason.

What is held in memory is 4 bytes a row for its reason and its step, and 8 for its id. Texts are
read from the run's own files, a row group at a time; nothing is written anywhere.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.runs.absent import no_run
from synth.runs.batches import AGAIN
from synth.runs.ownership import read_note, read_run
from synth.runs.shard_plan import run_folders
from synth.view.lines import Lines, ReplyLines, Stored

KINDS = ("kept", "dropped", "failed")
_FOLDERS = {
    "kept": "data",
    "dropped": "dropped",
}
# Open files, and row groups with a part of their columns, that are kept for the next page.
_MOST_OPEN = 64
_MOST_GROUPS = 96
_MOST_BYTES = 48 << 20
# Seconds that one page may search.
SEARCH_SECONDS = 0.05
# Failed rows that are looked through for the draws of a seed.
_FEW_FAILURES = 10_000


class Found(NamedTuple):
    """What a search met.

    Attributes:
        numbers: of the rows.
        next: the number of the first row that was not looked at; None at the end.
    """

    numbers: list[int]
    next: int | None


class Names:
    """Texts as small numbers, in the order in which they came."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """The number of a text."""
        if name not in self._codes:
            self._codes[name] = len(self.names)
            self.names.append(name)
        return self._codes[name]

    def codes(self, column: Any) -> Any:
        """[rows] uint16 of a column of texts; a missing one is the empty text."""
        encoded = column.fill_null("").dictionary_encode()
        own = [self.code(name) for name in encoded.dictionary.to_pylist()]
        table = np.array(own, np.uint16)
        return table[np.asarray(encoded.indices)]


class Part:
    """The parquet files of kept or of dropped rows as one numbered list.

    Args:
        folders: `data` or `dropped` of the run, or of each of its shards.

    Raises:
        WrongUse: a file that is broken.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.files = [
            file
            for folder in folders
            for file in sorted(folder.glob("*.parquet"))
        ]
        self.groups: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.count = 0
        self.columns: list[str] = []
        self.texts: list[str] = []
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._read: OrderedDict[tuple[int, tuple[str, ...]], Any] = (
            OrderedDict()
        )
        for number in range(len(self.files)):
            self._note_groups(number)

    def _note_groups(self, number: int) -> None:
        file = self._file(number)
        for group in range(file.num_row_groups):
            self.groups.append((number, group))
            self.starts.append(self.count)
            self.count += file.metadata.row_group(group).num_rows
        if not self.columns:
            schema = file.schema_arrow
            self.columns = list(schema.names)
            self.texts = [
                field.name for field in schema if pa.types.is_string(field.type)
            ]

    def _file(self, number: int) -> Any:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        path = self.files[number]
        try:
            opened = pq.ParquetFile(path)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise WrongUse(
                str(path),
                str(error)[:200],
                "a parquet file of a run",
                AGAIN,
            ) from error
        self._open[number] = opened
        if len(self._open) > _MOST_OPEN:
            _, oldest = self._open.popitem(last=False)
            oldest.close()
        return opened

    def group_of(self, row: int) -> int:
        """The row group that holds a row."""
        return bisect_right(self.starts, row) - 1

    def table(
        self,
        group: int,
        columns: Sequence[str],
    ) -> Any:
        """Columns of a row group; those of `meta` as `meta.step`."""
        key = (group, tuple(columns))
        if key in self._read:
            self._read.move_to_end(key)
            return self._read[key]
        number, inner = self.groups[group]
        table = self._file(number).read_row_group(
            inner,
            columns=list(columns),
            use_threads=False,
        )
        self._read[key] = table
        held = sum(one.nbytes for one in self._read.values())
        while len(self._read) > 1 and (
            held > _MOST_BYTES or len(self._read) > _MOST_GROUPS
        ):
            _, oldest = self._read.popitem(last=False)
            held -= oldest.nbytes
        return table

    def row(self, number: int) -> Fields:
        """A row, whole."""
        return self.rows([number], self.columns)[0]

    def rows(
        self,
        numbers: Sequence[int],
        columns: Sequence[str],
    ) -> list[Fields]:
        """Some columns of some rows; columns that the files lack are left out."""
        there = [name for name in columns if name in self.columns]
        found = []
        for number in numbers:
            group = self.group_of(number)
            inside = number - self.starts[group]
            slice_ = self.table(group, there).slice(inside, 1)
            found += slice_.to_pylist()
        return found

    def column(self, name: str) -> Iterator[Any]:
        """A column, file by file; a field of `meta` as `meta.step`."""
        for number in range(len(self.files)):
            head, _, inner = name.partition(".")
            # A reader of its own: another thread may be at a page.
            with pq.ParquetFile(self.files[number]) as file:
                table = file.read(columns=[name])
            column = table[head].combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                chunks = column.chunks
                column = pa.concat_arrays(chunks) if chunks else pa.array([])
            yield column.field(inner) if inner else column

    def search(
        self,
        word: str,
        start: int,
        most: int,
        among: Any | None,
    ) -> Found:
        """Rows in whose texts a word stands, whatever its case.

        Args:
            word: what is looked for; no pattern.
            start: the first row to look at.
            most: rows that are found at most.
            among: [rows] bool, where only some rows count.
        """
        deadline = time.monotonic() + SEARCH_SECONDS
        found: list[int] = []
        at = start
        while at < self.count:
            group = self.group_of(at)
            first = self.starts[group]
            hits = self._hits(group, word)
            if among is not None:
                hits &= among[first : first + len(hits)]
            numbers = np.flatnonzero(hits) + first
            found += numbers[numbers >= at].tolist()
            at = first + len(hits)
            if len(found) >= most or time.monotonic() > deadline:
                break
        if len(found) > most:
            return Found(found[:most], found[most])
        following = at if at < self.count else None
        return Found(found, following)

    def _hits(
        self,
        group: int,
        word: str,
    ) -> Any:
        number, inner = self.groups[group]
        table = self._file(number).read_row_group(
            inner,
            columns=self.texts,
        )
        hits = np.zeros(table.num_rows, bool)
        for column in table.columns:
            met = pc.match_substring(
                column,
                word,
                ignore_case=True,
            )
            hits |= np.asarray(met.fill_null(False))
        return hits


class Failures:
    """Rows of failed.jsonl, by number."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.files = [Lines(folder / "failed.jsonl") for folder in folders]
        for lines in self.files:
            lines.refresh()
        self.count = sum(map(len, self.files))

    def row(self, number: int) -> Fields:
        """A row, whole; a line that is no JSON object shows as text."""
        for lines in self.files:
            if number < len(lines):
                break
            number -= len(lines)
        line = lines.line(number)
        try:
            row = orjson.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            return row
        return {
            "id": "",
            "reason": "",
            "line": line.decode("utf-8", "replace"),
        }

    def search(
        self,
        word: str,
        start: int,
        most: int,
        among: Any | None,
    ) -> Found:
        """As `Part.search`, over whole lines."""
        deadline = time.monotonic() + SEARCH_SECONDS
        found: list[int] = []
        for number in range(start, self.count):
            text = str(self.row(number)).lower()
            if word.lower() in text and (among is None or among[number]):
                found.append(number)
            if len(found) >= most or time.monotonic() > deadline:
                is_last = number + 1 == self.count
                following = None if is_last else number + 1
                return Found(found, following)
        return Found(found, None)


class RunRows:
    """What a run published, ready to be looked at.

    Args:
        folder: a run's folder, joined or in shards; those shards count that have published.
        wanted: what may be named in its place, for the message.

    Attributes:
        run: run.json; of shards that are not joined, that of the first one that has ended.
        reasons, steps: names behind the codes.
        is_reading: whether another thread still reads ids and replies.

    Raises:
        WrongUse: the folder is no run's, or holds a broken file.
    """

    def __init__(
        self, folder: Path, wanted: str = "a folder that `synth run` wrote"
    ) -> None:
        self.folder = folder
        self.homes = [folder] if (folder / "run.json").is_file() else []
        self.homes = self.homes or [
            shard
            for shard in run_folders(folder)
            if (shard / "run.json").is_file()
        ]
        self.run: Fields = read_run(self.homes[0]) if self.homes else {}
        note = read_note(folder)
        if not self.homes and note is None and not run_folders(folder)[1:]:
            raise no_run(folder, "no run.json and no journal", wanted)
        self.parts: dict[str, Part] = {}
        for kind, name in _FOLDERS.items():
            self.parts[kind] = Part([home / name for home in self.homes])
        self.failures = Failures(self.homes)
        self.reasons = Names()
        self.steps = Names()
        self.is_reading = False
        self._lock = threading.Lock()
        self._codes: dict[str, tuple[Any, Any]] = {}
        self._ids: Any | None = None
        self.journals = [
            ReplyLines(home / "journal" / "replies.log")
            for home in run_folders(folder)
        ]

    def count(self, kind: str) -> int:
        """How many rows there are of a kind."""
        if kind == "failed":
            return self.failures.count
        return self.parts[kind].count

    def row(
        self,
        kind: str,
        number: int,
    ) -> Fields:
        """A row, whole."""
        if kind == "failed":
            return self.failures.row(number)
        return self.parts[kind].row(number)

    def rows(
        self,
        kind: str,
        numbers: Sequence[int],
        columns: Sequence[str],
    ) -> list[Fields]:
        """Some columns of some rows; failed ones whole."""
        if kind == "failed":
            return [self.failures.row(number) for number in numbers]
        return self.parts[kind].rows(numbers, columns)

    def codes(self, kind: str) -> tuple[Any, Any]:
        """[rows] of the reasons and of the steps of rows, as places in `reasons` and `steps`."""
        with self._lock:
            if kind not in self._codes:
                self._codes[kind] = self._read_codes(kind)
            return self._codes[kind]

    def _read_codes(self, kind: str) -> tuple[Any, Any]:
        count = self.count(kind)
        reasons = np.full(
            count,
            self.reasons.code(""),
            np.uint16,
        )
        steps = np.full(
            count,
            self.steps.code(""),
            np.uint16,
        )
        if kind == "failed":
            for number in range(count):
                row = self.failures.row(number)
                meta = row.get("meta")
                step = meta.get("step") if isinstance(meta, dict) else ""
                reasons[number] = self.reasons.code(str(row.get("reason")))
                steps[number] = self.steps.code(str(step or ""))
            return reasons, steps
        part = self.parts[kind]
        if (only := self.only_step()) is not None:
            steps = np.full(
                count,
                self.steps.code(only),
                np.uint16,
            )
        elif "meta" in part.columns:
            steps = _joined(map(self.steps.codes, part.column("meta.step")))
        if kind == "dropped" and count:
            reasons = _joined(map(self.reasons.codes, part.column("reason")))
        return reasons, steps

    def only_step(self) -> str | None:
        """The step of a run that has one alone; all its rows left there."""
        named = list(self.run.get("steps") or ())
        return str(named[0]) if len(named) == 1 else None

    def chosen(
        self,
        kind: str,
        reason: str | None = None,
        step: str | None = None,
    ) -> Any | None:
        """[rows] bool of the rows of a reason and a step; None where all are meant."""
        mask = None
        if reason is None and step is None:
            return mask
        reasons, steps = self.codes(kind)
        for name, codes, names in (
            (reason, reasons, self.reasons),
            (step, steps, self.steps),
        ):
            if name is not None:
                code = names.names.index(name) if name in names.names else -1
                fits = codes == code
                mask = fits if mask is None else mask & fits
        return mask

    def search(
        self,
        kind: str,
        word: str,
        start: int,
        most: int,
        among: Any | None,
    ) -> Found:
        """Rows in whose texts a word stands."""
        part = self.failures if kind == "failed" else self.parts[kind]
        return part.search(
            word,
            start,
            most,
            among,
        )

    def same_seed(
        self,
        seed_id: str,
        most: int,
    ) -> list[tuple[str, int]]:
        """(kind, number) of the rows of one seed: its draws, kept ones first. None are known while
        `is_reading`.
        """
        if self.is_reading:
            return []
        ids = self.ids()
        kept = self.count("kept")
        found = []
        for place in np.flatnonzero(ids == hash(seed_id))[:most].tolist():
            is_kept = place < kept
            kind = "kept" if is_kept else "dropped"
            number = place if is_kept else place - kept
            # Two ids may share a hash.
            if (
                self.rows(
                    kind,
                    [number],
                    ["id"],
                )[0]["id"]
                == seed_id
            ):
                found.append((kind, number))
        few = min(self.failures.count, _FEW_FAILURES)
        found += [
            ("failed", number)
            for number in range(few)
            if str(self.failures.row(number).get("id")) == seed_id
        ]
        return found[:most]

    def ids(self) -> Any:
        """[kept and dropped rows] int64 hashes of their ids, which no other process shares."""
        if self._ids is None:
            self._ids = self._read_ids()
        return self._ids

    def _read_ids(self) -> Any:
        """[kept and dropped rows] hashes of their ids."""
        hashes = [np.zeros(0, np.int64)]
        for part in self.parts.values():
            for ids in part.column("id") if part.count else ():
                own = map(hash, ids.to_pylist())
                hashes.append(
                    np.fromiter(
                        own,
                        np.int64,
                        len(ids),
                    )
                )
        return np.concatenate(hashes)

    def read_ahead(self) -> None:
        """Reads what pages behind the first one need; meant for a thread of its own."""
        self.is_reading = True
        try:
            for kind in KINDS:
                self.codes(kind)
            self._ids = self._read_ids()
            for journal in self.journals:
                journal.refresh()
            pa.default_memory_pool().release_unused()
        finally:
            self.is_reading = False

    def reply(self, key: str) -> Stored | None:
        """The raw reply under a key; None where no journal of the run holds it, and while
        `is_reading`.
        """
        for journal in () if self.is_reading else self.journals:
            journal.refresh()
            if (stored := journal.get(key)) is not None:
                return stored
        return None

    def preview_columns(self) -> list[str]:
        """The columns that a list shows of a row: its id, its first text, its reply."""
        texts = self.parts["kept"].texts or self.parts["dropped"].texts
        first = [name for name in texts if name != "id"][:1]
        return [
            "id",
            *first,
            *(["reply"] if "reply" in texts else []),
        ]


def _joined(arrays: Any) -> Any:
    listed = list(arrays)
    return np.concatenate(listed) if listed else np.zeros(0, np.uint16)
