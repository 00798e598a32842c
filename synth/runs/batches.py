"""Rows of published files, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from synth.core.errors import WrongUse
from synth.core.records import Fields

AGAIN = "Run the same `synth run` again: it asks nothing and publishes the folder anew."


def batches(
    folder: Path, columns: Sequence[str] | None = None, rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """Batches of a folder's .parquet files, in order.

    Args:
        folder: `data` or `dropped` of a run.
        columns: those to read; ones that a file lacks are left out. None reads all.
        rows: of a batch at most.

    Raises:
        WrongUse: a file that is broken.
    """
    for file in sorted(folder.glob("*.parquet")):
        try:
            table = pq.ParquetFile(file)
            names = None
            if columns is not None:
                there = table.schema_arrow.names
                names = [name for name in columns if name in there]
            yield from table.iter_batches(batch_size=rows, columns=names)
        except (pa.ArrowException, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the machine's fault, not the file's
            raise WrongUse(
                str(file),
                f"{type(error).__name__}: {str(error)[:200]}",
                "a parquet file of a run",
                AGAIN,
            ) from error


def rows_of(
    folder: Path, columns: Sequence[str] | None = None
) -> Iterator[Fields]:
    """Rows of a folder's files, in order; columns that they lack are left out."""
    for batch in batches(folder, columns):
        yield from batch.to_pylist()


def count_of(folder: Path) -> int:
    """How many rows the files of a folder say they hold; none of them is read."""
    files = folder.glob("*.parquet")
    return sum(pq.read_metadata(file).num_rows for file in files)
