"""Speed of searching 100,000 passages with 10,000 queries, beside the libraries that do the same:
`make bench-mining`.

Everything runs in one process after another on made-up texts: words drawn by Zipf's law, 60 a
passage and 10 a query; vectors of 384 normal numbers. Peers that are not installed are left out
(`pip install bm25s numba faiss-cpu`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from synth.search.index import K1, B, Bm25, nearest

PASSAGES, QUERIES, WIDTH, MOST = 100_000, 10_000, 384, 100


def texts(count: int, length: int, rng: np.random.Generator) -> list[str]:
    """Texts of made-up words."""
    chances = 1 / np.arange(1, 60_001)
    table = rng.choice(60_000, (count, length), p=chances / chances.sum())
    return [" ".join(f"w{word}" for word in row) for row in table.tolist()]


def unit(count: int, rng: np.random.Generator) -> Any:
    """[count, WIDTH] unit vectors."""
    table = rng.standard_normal((count, WIDTH)).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds of the better of two, what came)."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        result = work()
        found.append(time.perf_counter() - start)
    return min(found), result


def peer_bm25(passages: list[str], queries: list[str]) -> Any:
    """bm25s with its fastest settings, its own tokens."""
    import bm25s  # noqa: PLC0415

    made = bm25s.BM25(
        k1=K1,
        b=B,
        method="lucene",
        backend="numba" if find_spec("numba") else "numpy",
    )
    made.index(
        bm25s.tokenize(passages, stopwords=None, show_progress=False),
        show_progress=False,
    )

    def search() -> Any:
        asked = bm25s.tokenize(
            queries, stopwords=None, show_progress=False, return_ids=False
        )
        once = [
            list(dict.fromkeys(words)) for words in asked
        ]  # ours counts a word of a query once
        return made.retrieve(
            once, k=MOST, show_progress=False, n_threads=os.cpu_count() or 1
        )

    return timed(search)


def peer_dense(queries: Any, table: Any) -> Any:
    """Faiss's exact index."""
    import faiss  # type: ignore[import-not-found]  # noqa: PLC0415

    index = faiss.IndexFlatIP(WIDTH)
    index.add(table)
    return timed(lambda: index.search(queries, MOST))


def main() -> None:
    rng = np.random.default_rng(0)
    passages, queries = texts(PASSAGES, 60, rng), texts(QUERIES, 10, rng)
    index = Bm25(tuple(passages))
    start = time.perf_counter()
    _ = index.index
    print(f"BM25: indexed in {time.perf_counter() - start:.1f} s", flush=True)
    ours, hits = timed(lambda: index.best(queries, MOST))
    theirs, (_, scores) = peer_bm25(passages, queries)
    same = np.mean(
        [
            abs(row[0][1] - top) < 1e-4
            for row, top in zip(hits, scores[:, 0], strict=True)
        ]
    )
    print(
        f"BM25: ours {ours:.2f} s, bm25s {theirs:.2f} s, ratio {ours / theirs:.2f}; best scores "
        f"equal: {same:.3f}",
        flush=True,
    )
    table, asked = unit(PASSAGES, rng), unit(QUERIES, rng)
    ours, near = timed(lambda: nearest(asked, table, MOST))
    if not find_spec("faiss"):
        print(f"inner product: ours {ours:.2f} s; faiss is not installed")
        return
    theirs, (_, places) = peer_dense(asked, table)
    same = np.mean(
        [
            {place for place, _ in row} == set(other)
            for row, other in zip(near, places.tolist(), strict=True)
        ]
    )
    print(
        f"inner product: ours {ours:.2f} s, faiss {theirs:.2f} s, ratio {ours / theirs:.2f}; "
        f"same {MOST} found: {same:.3f}"
    )


if __name__ == "__main__":
    main()
