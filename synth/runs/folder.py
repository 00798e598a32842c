"""Published rows as a `datasets.Dataset`, also where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_parquet(folder: str | Path) -> Any:
    """All rows of a folder's .parquet files, memory-mapped; none, with their columns, where the
    files hold none.
    """
    import datasets  # noqa: PLC0415 - a second, and only for who wants the rows in Python
    import pyarrow.parquet as pq  # noqa: PLC0415

    from synth.runs.batches import count_of  # noqa: PLC0415 - pyarrow

    folder = Path(folder)
    files = sorted(folder.glob("*.parquet"))
    if files and not count_of(folder):
        return datasets.Dataset(pq.read_table(files[0]))
    return datasets.Dataset.from_parquet([str(file) for file in files])
