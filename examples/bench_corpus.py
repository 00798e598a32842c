"""Filters that see all rows, on rows that no memory holds:
`python -m examples.bench_corpus --rows 100000 1000000`.

Rows are made: texts of 50 words, whose frequencies fall as those of a language do, every tenth one
a copy of an earlier text with one word changed, every twentieth a copy that differs in case alone.
The figures of each filter: CPU seconds, the process's largest memory while it judged, and how many
rows leave.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synth.core.registry import build
from synth.runs.corpus import judged

WORDS = 50
LETTERS = ascii_lowercase
VOCABULARY = 200_000
A_FILE = 50_000
FILTERS = {
    "exact_duplicate": {},
    "near_duplicate": {},
    "quota": {"field": "kind", "most": 100},
}
_PROCESSES = multiprocessing.get_context("spawn")


def texts(count: int) -> Iterator[str]:
    """Texts and their copies."""
    rng = np.random.default_rng(0)
    ranks = np.arange(1, VOCABULARY + 1)
    shares = np.cumsum(1 / ranks)
    shares /= shares[-1]
    # Words of letters alone: numbers would tell texts apart.
    names = [
        "".join(word) for word in islice(product(LETTERS, repeat=4), VOCABULARY)
    ]
    block: list[list[str]] = []
    for number in range(count):
        if not block:
            places = np.searchsorted(shares, rng.random((1000, WORDS)))
            block = [[names[place] for place in text] for text in places]
            earlier = list(block)
        words = block.pop()
        if number % 20 == 7:
            yield " ".join(earlier[number % 700]).title()
        elif number % 10 == 3:
            changed = list(earlier[number % 700])
            changed[number % WORDS] = "xyzzy"
            yield " ".join(changed)
        else:
            yield " ".join(words)


def write_rows(folder: Path, count: int) -> None:
    """Files of rows as a run has them, with what these filters read."""
    folder.mkdir()
    rows = texts(count)
    for file in range(0, count, A_FILE):
        part = list(islice(rows, A_FILE))
        columns = {
            "question": part,
            "kind": [f"kind {len(text) % 97}" for text in part],
            "reply": [""] * len(part),
            "meta": [{"n": file}] * len(part),
        }
        name = f"train-{file // A_FILE:05}.parquet"
        pq.write_table(pa.table(columns), folder / name)


def measure(folder: Path, name: str, out: Any) -> None:
    """Sends (rows that leave, CPU seconds, MiB of the largest memory) of one filter."""
    before = time.process_time()
    part = build("synth.filters", {"name": name, **FILTERS[name]})
    left = sum(bool(leaves) for _, leaves in judged([part], folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.put((left, time.process_time() - before, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[100_000, 1_000_000]
    )
    parser.add_argument("--filters", nargs="+", default=list(FILTERS))
    parser.add_argument(
        "--folder", help="where the rows are written for a while"
    )
    given = parser.parse_args()
    print("| rows | filter | rows that leave | CPU s | MiB |")
    print("|---:|---|---:|---:|---:|")
    for count in given.rows:
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            folder = Path(place) / "rows"
            write_rows(folder, count)
            for name in given.filters:
                out = _PROCESSES.Queue()
                process = _PROCESSES.Process(
                    target=measure, args=(folder, name, out)
                )
                process.start()
                left, seconds, peak = out.get()
                process.join()
                print(
                    f"| {count:,} | `{name}` | {left:,} | {seconds:.1f} | {peak:,.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
