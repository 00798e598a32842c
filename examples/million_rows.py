"""A run folder of a million rows: those of a real run, over and over, each with an id, a key and a
reply in the journal of its own.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import synth
from synth.calls.journal import records
from synth.core.records import Fields
from synth.runs.ownership import make_folder
from synth.runs.publisher import GROUP, MOST_ROWS
from synth.teachers.simulation.word_problems import make_problems

# Seeds of the run whose rows are repeated.
REAL = 10_000


def make_run(folder: Path, rows: int) -> Path:
    """Writes a run of so many rows, unless it is there.

    Args:
        folder: the new run's.
        rows: kept and dropped ones together, a multiple of REAL.

    Returns:
        The folder.
    """
    if (folder / "run.json").is_file():
        return folder
    real = folder.with_name(f"{folder.name}-real")
    synth.run(
        "cot",
        make_problems(REAL, seed=1),
        teacher="simulated/mixed",
        output=real,
    )
    times = rows // REAL
    make_folder(folder)
    for part in ("data", "dropped"):
        table = pq.read_table(real / part)
        _write(folder / part, (_again(table, n) for n in range(times)))
    _write_journal(real, folder, times)
    for name in ("failed.jsonl", "README.md"):
        (folder / name).write_bytes((real / name).read_bytes())
    (folder / "pack").symlink_to((real / "pack").resolve())
    record = orjson.loads((real / "run.json").read_bytes())
    _multiply(record, times)
    (folder / "run.json").write_bytes(orjson.dumps(record))
    return folder


def _named(name: str, times: int) -> str:
    """64 hex digits of a name's n-th copy."""
    return hashlib.sha256(f"{name} {times}".encode()).hexdigest()


def _again(table: Any, times: int) -> Any:
    """The rows under other ids and keys."""
    ids = [_named(one, times)[:16] for one in table["id"].to_pylist()]
    meta = table["meta"].combine_chunks()
    fields = [
        meta.field(n).combine_chunks()
        if isinstance(meta.field(n), pa.ChunkedArray)
        else meta.field(n)
        for n in range(meta.type.num_fields)
    ]
    names = [meta.type.field(n).name for n in range(meta.type.num_fields)]
    place = names.index("key")
    keys = [_named(key, times) for key in fields[place].to_pylist()]
    fields[place] = pa.array(keys)
    renamed = pa.StructArray.from_arrays(fields, names=names)
    table = table.set_column(0, "id", pa.array(ids))
    place = table.schema.get_field_index("meta")
    return table.set_column(place, table.schema.field(place), renamed)


def _write(folder: Path, tables: Iterator[Any]) -> None:
    """Files of as many rows as a run writes, in row groups of its size."""
    folder.mkdir()
    writer = None
    files = 0
    written = 0
    for table in tables:
        for start in range(0, table.num_rows, GROUP):
            if writer is None or written >= MOST_ROWS:
                if writer is not None:
                    writer.close()
                path = folder / f"train-{files:05d}.parquet"
                writer = pq.ParquetWriter(
                    path, table.schema, compression="zstd"
                )
                files += 1
                written = 0
            group = table.slice(start, GROUP)
            writer.write_table(group)
            written += group.num_rows
    if writer is not None:
        writer.close()


def _write_journal(real: Path, folder: Path, times: int) -> None:
    """As many replies, under the keys of the rows."""
    (folder / "journal").mkdir()
    note = (real / "journal" / "opened.json").read_bytes()
    (folder / "journal" / "opened.json").write_bytes(note)
    replies = list(records(real / "journal"))
    with (folder / "journal" / "replies.log").open("wb") as file:
        for n in range(times):
            for key, raw in replies:
                body = f"{_named(key, n)} 60 9 0 0 0.0001 ".encode() + raw
                file.write(b"%08x %b\n" % (zlib.crc32(body), body))


def _multiply(record: Fields, times: int) -> None:
    """Counts of a run that is so many times as large."""
    counts = record["counts"]
    counts["asked"] *= times
    counts["kept"] *= times
    counts["dropped"] = {
        reason: rows * times for reason, rows in counts["dropped"].items()
    }
