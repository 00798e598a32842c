"""A run's folder: rows stream into a hidden place and appear under their names all at once, when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from synth.datasets._columns import Columns
from synth.errors import Stopped, WrongUse
from synth.records import Exit, Row
from synth.seeds import json_line

# Rows that wait for a row group: some 2 MB.
GROUP = 2000
# Rows of one file: what a writer remembers of its row groups stays small, and readers can share the files out.
MOST_ROWS = 50_000


class _Table:
    """Parquet files of at most MOST_ROWS rows each, written in row groups."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True)
        self.folder, self.schema, self.waiting = folder, schema, list[Row]()
        self.files = self.rows = 0
        self._next()

    def _next(self) -> None:
        self.writer = pq.ParquetWriter(self.folder / f"train-{self.files:05d}.parquet", self.schema, compression="zstd")
        self.files, self.rows = self.files + 1, 0

    def add(self, row: Row) -> None:
        self.waiting.append(row)
        if len(self.waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        if self.rows >= MOST_ROWS:
            self.writer.close()
            self._next()
        self.writer.write_table(pa.Table.from_pylist(self.waiting, schema=self.schema))
        self.rows += len(self.waiting)
        self.waiting = []

    def close(self) -> None:
        self.flush()
        self.writer.close()


class Publisher:
    """Takes exits in order; `publish` puts data/, dropped/, failed.jsonl, run.json and README.md in place.

    Raises:
        Stopped: the disk refused a write; what stands under the names is the last whole publication.
    """

    PARTS = ("data", "dropped", "failed.jsonl", "README.md", "run.json")

    def __init__(self, folder: Path, columns: Columns) -> None:
        self.folder, self.columns = folder, columns
        self.hidden = folder / ".unpublished"
        shutil.rmtree(self.hidden, ignore_errors=True)
        self.hidden.mkdir(parents=True)
        self._kept = _Table(self.hidden / "data", columns.kept)
        self._dropped = _Table(self.hidden / "dropped", columns.dropped)
        self._failed = (self.hidden / "failed.jsonl").open("wb")

    def add(self, exit_: Exit, row: dict[str, Any]) -> None:
        """One row, under the name of its exit."""
        row = {**row, "reason": exit_.reason, "detail": exit_.detail} if exit_.kind != "kept" else row
        try:
            if exit_.kind == "failed":
                self._failed.write(json_line(row))
            else:
                (self._kept if exit_.kind == "kept" else self._dropped).add(self.columns.line(row))
        except OSError as error:
            raise Stopped("disk", f"{error.strerror or error} while writing rows; free space and run again") from error

    def publish(self, run: dict[str, Any], card: str) -> None:
        """Closes the files and moves them under their names; run.json comes last."""
        try:
            self._kept.close()
            self._dropped.close()
            self._failed.close()
            (self.hidden / "README.md").write_text(card, encoding="utf-8")
            (self.hidden / "run.json").write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            for name in self.PARTS:
                _replace(self.hidden / name, self.folder / name)
            shutil.rmtree(self.hidden)
        except OSError as error:
            raise Stopped("disk", f"{error.strerror or error} while publishing; free space and run again") from error


def _replace(new: Path, old: Path) -> None:
    """Puts `new` where `old` stands; a folder steps aside first, as no folder can be replaced in one move."""
    aside = old.with_name(f".old-{old.name}")
    if old.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        old.rename(aside)
    os.replace(new, old)  # noqa: PTH105 - the atomic one
    shutil.rmtree(aside, ignore_errors=True)


class RunFolder:
    """A published run, to read.

    Raises:
        WrongUse: the folder holds no run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "run.json"
        if not path.is_file():
            raise WrongUse(str(folder), "no run.json", "a folder that `synth run` wrote", "Check the path.")
        self.run: dict[str, Any] = orjson.loads(path.read_bytes())

    def rows(self, part: str = "data") -> Iterator[dict[str, Any]]:
        """Rows of `data` or `dropped`, in order."""
        for file in sorted((self.folder / part).glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
