"""A run's folder: rows stream into a hidden place and appear under their names all at once, when
they are whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from synth.core.errors import PotstillError, Stopped, WrongUse
from synth.core.records import Exit, Fields, Row
from synth.filters.base import Filter
from synth.inputs.seeds import json_line
from synth.runs.absent import no_run
from synth.runs.batches import AGAIN, rows_of
from synth.runs.columns import Columns, Misfit, spell
from synth.runs.corpus import judged
from synth.runs.ownership import (
    check_format,
    content_of,
    digest,
    discard,
    free_name,
    is_our_card,
    make_folder,
    make_private,
    read_run,
)
from synth.runs.shard_plan import check_joined

# What a card says while the parts of the folder move.
_MOVING = " moved at "
# Rows that wait for a row group: some 2 MB; fewer where their texts are long.
GROUP = 2000
MOST_WAITING = 1 << 25
# Rows of one file: what a writer remembers of its row groups stays small, and readers can share the
# files out.
MOST_ROWS = 50_000


# Why a row leaves whose values no column can hold.
MISFIT = "no_column_holds"


class _Table:
    """Parquet files of at most MOST_ROWS rows each, written in row groups.

    Args:
        folder: a new one.
        columns: what the rows are made of.
        schema: those of kept or of dropped rows.
        misfit: takes a row whose values the columns cannot hold, made fit, and what was left out of
            it.

    Attributes:
        rows: rows in the file that is open.
        written: rows in all files.
    """

    def __init__(
        self,
        folder: Path,
        columns: Columns,
        schema: pa.Schema,
        misfit: Callable[[Row, str], None],
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.columns = columns
        self.schema = schema
        self.misfit = misfit
        self.waiting = list[Row]()
        self.waiting_chars = 0
        self.files = self.rows = self.written = 0
        self._next()

    def _next(self) -> None:
        path = self.folder / f"train-{self.files:05d}.parquet"
        make_private(path)
        self.writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self.files = self.files + 1
        self.rows = 0

    def add(self, row: Row) -> bool:
        """Whether enough rows wait to be written."""
        self.waiting.append(row)
        self.waiting_chars += len(row.get("reply") or "") + len(
            row.get("prompt") or ""
        )
        return len(self.waiting) >= GROUP or self.waiting_chars >= MOST_WAITING

    def flush(self) -> None:
        if not self.waiting:
            return
        rows = self.waiting
        self.waiting = []
        self.waiting_chars = 0
        try:
            table = self.columns.table(rows, self.schema)
        except Misfit:
            table = self.columns.table(self._fitting(rows), self.schema)
        self.write(table)

    def write(self, table: pa.Table) -> None:
        """Writes a row group, into the next file where this one has enough rows."""
        if self.rows >= MOST_ROWS:
            self.writer.close()
            self._next()
        self.writer.write_table(table)
        self.rows += table.num_rows
        self.written += table.num_rows

    def _fitting(self, rows: list[Row]) -> list[Row]:
        """The rows that the columns can hold; each of the others leaves alone."""
        fitting = []
        for row in rows:
            fits, left_out = self.columns.mend(row, self.schema)
            if left_out:
                self.misfit(fits, left_out)
            else:
                fitting.append(fits)
        return fitting

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        while self.waiting:  # a row that does not fit comes back once, made fit
            self.flush()
        self.writer.close()


class Publisher:
    """Takes exits in order; `publish` puts data/, dropped/, failed.jsonl, run.json and README.md in
    place.

    Attributes:
        broken: what ended the publication; what stands under the names is then the last whole one.

    Raises:
        Stopped: the disk refused a write, or the machine the memory for it.
    """

    PARTS = ("data", "dropped", "failed.jsonl", "README.md", "run.json")

    def __init__(self, folder: Path, columns: Columns) -> None:
        self.folder = folder
        self.columns = columns
        self.hidden = folder / ".unpublished"
        self.broken: Stopped | None = None
        self._misfits: Counter[str] = Counter()
        with self._writing("opening the rows' files"):
            shutil.rmtree(self.hidden, ignore_errors=True)
            make_folder(folder)
            self.hidden.mkdir(mode=0o700)
            self._kept = self._open_kept()
            self._dropped = _Table(
                self.hidden / "dropped",
                columns,
                columns.dropped,
                self._drop_less,
            )
            make_private(self.hidden / "failed.jsonl")
            self._failed = (self.hidden / "failed.jsonl").open("wb")

    def _open_kept(self) -> _Table:
        return _Table(
            self.hidden / "data",
            self.columns,
            self.columns.kept,
            self._drop,
        )

    def _drop(self, row: Row, left_out: str) -> None:
        """A kept row that the columns cannot hold: it leaves as dropped, without what they could
        not hold.
        """
        self._misfits[MISFIT] += 1
        self._dropped.add({**row, "reason": MISFIT, "detail": left_out[:300]})

    def _drop_less(self, row: Row, left_out: str) -> None:
        """A dropped row that the columns cannot hold: it keeps its reason."""
        self._dropped.add(
            {**row, "detail": f"{row['detail']} (left out: {left_out})"[:600]},
        )

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Turns what the machine refuses into the end of the run; nothing more is written then."""
        if self.broken:
            raise self.broken
        try:
            yield
        except PotstillError:
            raise
        except OSError as error:
            self.broken = Stopped(
                "disk",
                f"{error.strerror or error} while {what}; free space and run again",
            )
            raise self.broken from error
        except Exception as error:
            self.broken = Stopped(
                "publishing",
                f"{type(error).__name__} while {what}: {str(error)[:200]}",
            )
            raise self.broken from error

    def add(self, exit_: Exit, row: Fields) -> None:
        """One row, under the name of its exit."""
        row = (
            {**row, "reason": exit_.reason, "detail": exit_.detail}
            if exit_.kind != "kept"
            else row
        )
        if exit_.kind == "failed":
            with self._writing("writing rows"):
                self._failed.write(_failed_line(row))
            return
        table = self._kept if exit_.kind == "kept" else self._dropped
        if table.add(self.columns.line(row)):
            with self._writing("writing rows"):
                table.flush()

    def add_folders(
        self, folders: Sequence[Path], most: int | None = None
    ) -> tuple[int, int]:
        """Rows of other runs of the same columns, by their place in the input.

        Args:
            folders: theirs.
            most: rows that are kept at most; the others are dropped as `over_target`, behind those
                that were dropped before.

        Returns:
            How many were kept, and how many dropped.
        """
        # 0.1 s of numpy and of pyarrow's formulas, which a run does not need.
        from synth.runs.merging import (  # noqa: PLC0415
            grouped,
            merged_failures,
            merged_rows,
            over_target,
        )

        for table, part in ((self._kept, "data"), (self._dropped, "dropped")):
            with self._writing("writing rows"):
                rows = merged_rows(folders, part, table.schema)
                for group in grouped(rows, GROUP, MOST_WAITING):
                    room = None if most is None else most - table.written
                    table.write(group if part == "dropped" else group[:room])
        if most is not None:
            with self._writing("writing rows"):
                rows = merged_rows(folders, "data", self._kept.schema)
                for group in over_target(rows, most, self._dropped.schema):
                    self._dropped.write(group)
        with self._writing("writing rows"):
            self._failed.writelines(merged_failures(folders))
        return self._kept.written, self._dropped.written

    def settle(self, filters: Sequence[Filter] = ()) -> Counter[str]:
        """Writes what waits, sifts where there are filters, and returns how many kept rows left for
        that, by reason.
        """
        with self._writing("writing rows"):
            self._kept.flush()
            if filters:
                # Row groups end here, whether the rows came one by one or from shards.
                self._dropped.flush()
                self._misfits += self._sift(filters)
            self._kept.close()
            self._dropped.close()
            self._failed.close()
        return self._misfits

    def _sift(self, filters: Sequence[Filter]) -> Counter[str]:
        """Sends the kept rows through filters that see all of them; returns how many left, by
        reason.
        """
        self._kept.close()
        before = (self.hidden / "data").rename(self.hidden / "sifted")
        self._kept = self._open_kept()
        left: Counter[str] = Counter()
        for row, (verdicts, leaves) in zip(
            rows_of(before), judged(filters, before), strict=True
        ):
            row["meta"]["verdicts"] += verdicts
            if leaves:
                left[leaves["reason"]] += 1
                row.update(leaves)
            table = self._dropped if leaves else self._kept
            if table.add(row):
                table.flush()
        shutil.rmtree(before)
        return left

    def _still_shared(self, run: Fields) -> None:
        """A licence that `synth card` was told stays; what it said of other rows goes."""
        before = read_run(self.folder)
        license_id = (before.get("sharing") or {}).get("license")
        if before.get("content") == run["content"]:
            run["sharing"] = before.get("sharing")
            return
        if license_id:
            run["sharing"] = {"license": license_id}
        (self.folder / "croissant.json").unlink(missing_ok=True)

    def publish(self, run: Fields, card: Callable[[str], str]) -> None:
        """Moves the settled files under their names; run.json comes last.

        Args:
            run: run.json.
            card: README.md, made from the hash of the rows.
        """
        with self._writing("publishing"):
            content = content_of(self.hidden)
            run["content"] = content
            self._still_shared(run)
            _set_aside_card(self.folder)
            card_file = self.hidden / "README.md"
            make_private(card_file)
            # Who loads the folder while its parts move, or after a crash in between, finds a card
            # that no other load has seen.
            card_file.write_text(
                card(f"{content}{_MOVING}{time.time_ns()}"),
                encoding="utf-8",
            )
            put_in_place(card_file, self.folder / "README.md")
            make_private(card_file)
            card_file.write_text(card(content), encoding="utf-8")
            run["card_sha256"] = digest(card_file)
            make_private(self.hidden / "run.json")
            (self.hidden / "run.json").write_bytes(
                orjson.dumps(
                    run,
                    default=str,
                    option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
                )
            )
            for name in self.PARTS:
                put_in_place(self.hidden / name, self.folder / name)
            shutil.rmtree(self.hidden)


def _failed_line(row: Row) -> bytes:
    """The JSON line of a failed row; what JSON cannot say is spelled as Python says it."""
    try:
        return json_line(row)
    except (TypeError, ValueError, RecursionError):
        return json_line(
            {
                name: value if name in {"reason", "detail"} else spell(value)
                for name, value in row.items()
            }
        )


def put_in_place(new: Path, old: Path) -> None:
    """Puts `new` where `old` stands, with its rights; a folder steps aside first, as no folder can
    be replaced in one move.
    """
    aside = old.with_name(f".old-{old.name}")
    if aside.is_dir():
        discard(aside)
    if old.exists():
        new.chmod(stat.S_IMODE(old.stat().st_mode))
    if old.is_dir():
        old.rename(aside)
    os.replace(new, old)  # noqa: PTH105 - the atomic one
    if aside.is_dir():
        discard(aside)


def _set_aside_card(folder: Path) -> None:
    """A card that somebody changed since it was written stays, as README.yours.md."""
    card = folder / "README.md"
    run = read_run(folder)
    if (
        run.get("card_sha256")
        and card.is_file()
        and not is_our_card(folder, run)
        and _MOVING not in card.read_text(errors="replace")
    ):
        card.rename(free_name(folder / "README.yours.md"))


# What readers rely on.
_RUN: dict[str, type] = {
    "pack.name": str,
    "pack.about": str,
    "pack.hash": str,
    "settings.set": dict,
    "settings.teachers": dict,
    "counts.asked": int,
    "counts.kept": int,
    "counts.dropped": dict,
    "counts.failed": dict,
}


class RunFolder:
    """A published run, to read.

    Raises:
        WrongUse: the folder holds no run, or one that something broke.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "run.json"
        check_joined(self.folder)
        if not path.is_file():
            raise no_run(
                folder, "no run.json", "a folder that `synth run` wrote"
            )
        self.run = self._read(path)

    @staticmethod
    def _read(path: Path) -> Fields:
        """What run.json says; what every reader of a run relies on is there, and of the right
        kind.
        """
        try:
            record = orjson.loads(path.read_bytes())
        except ValueError as error:
            raise WrongUse(
                str(path),
                f"broken JSON ({error})",
                "what `synth run` wrote",
                AGAIN,
            ) from error
        if isinstance(record, dict):
            check_format(record, path)
        for name, kind in _RUN.items():
            value = record
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise WrongUse(
                    f"{path}: {name}",
                    f"{value!r}"[:80],
                    f"a {kind.__name__}",
                    AGAIN,
                )
            if (
                name.startswith("counts.")
                and isinstance(value, dict)
                and not all(type(n) is int for n in value.values())
            ):
                raise WrongUse(
                    f"{path}: {name}",
                    f"{value!r}"[:80],
                    "whole numbers by reason",
                    AGAIN,
                )
        return dict(record)

    def rows(self, part: str = "data") -> Iterator[Fields]:
        """Rows of `data` or `dropped`, in order."""
        return rows_of(self.folder / part)
