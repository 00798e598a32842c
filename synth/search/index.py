"""Texts that are near a text: by words (BM25) and by unit vectors, exact, for many queries at
once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from synth.core.optional import optional, require
from synth.local_models.scores import vectors
from synth.text.words import singular, terms, words

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    # (query, text, product) of each.
    Candidates = tuple[Array, Array, Array]

# Searches by words; the second one takes English plurals for what they are plurals of.
STEMS = "bm25_stems"
BY_WORDS = ("bm25", STEMS)
K1 = 1.2
B = 0.75
# Queries and texts of one tile of scores: 256 x 16,384 float32 are 16 MiB, which stays near the
# processor.
_ROWS = 256
_TILE = 16_384
# Columns that the fastest kernels of a matrix product take at once, and more.
_LANES = 64
# Candidates for each of a query's places before they are sorted out.
_SPARE = 8
# From here on compiling the search (some 10 s, once a process) is paid back.
_MANY = 20_000_000

Hit = tuple[int, float]


class Index(Protocol):
    """Finds the nearest of its texts."""

    def best(
        self,
        queries: Sequence[str],
        most: int,
    ) -> list[list[Hit]]:
        """(text, score) of at most `most` texts a query, the nearest first; equal ones in the order
        of the texts.
        """
        ...


@dataclass(frozen=True)
class Bm25:
    """Okapi BM25 (Robertson and Zaragoza 2009, equation 3.15) over words without case; scores are
    above 0, higher is nearer.

    The constant factor k1 + 1 is left out, which changes no order. A word of a query counts once.
    In scripts without spaces characters are the words, or pairs of them where they spell sounds.

    >>> [
    ...     (text, round(score, 3))
    ...     for text, score in Bm25(("a red pen", "a blue house", "red red red")).best(
    ...         ["red"], 2
    ...     )[0]
    ... ]
    [(2, 0.336), (0, 0.214)]

    Args:
        texts: what is searched.
        stems: whether English plurals are what they are plurals of (`singular`).
    """

    texts: tuple[str, ...]
    stems: bool = False

    def _terms(self, text: str) -> list[str]:
        """What counts of a text."""
        found = terms(words(text))
        return list(map(singular, found)) if self.stems else found

    @cached_property
    def index(self) -> Any:
        """The inverted index, made once."""
        bm25s = optional("bm25s", "search", "search by words (bm25)")
        numbers: dict[str, int] = {}
        ids = []
        for text in self.texts:
            terms_of_text = self._terms(text)
            ids.append(
                [numbers.setdefault(w, len(numbers)) for w in terms_of_text]
            )
        made = bm25s.BM25(k1=K1, b=B, method="lucene")
        made.index(
            (ids, numbers or {"": 0}),
            create_empty_token=False,
            show_progress=False,
        )
        return made

    def best(
        self,
        queries: Sequence[str],
        most: int,
    ) -> list[list[Hit]]:
        """(text, score) of the nearest ones that share a word, the nearest first."""
        import numpy as np  # noqa: PLC0415 - for those who need it

        vocabulary = self.index.vocab_dict
        asked = []
        for query in queries:
            terms_of_query = dict.fromkeys(self._terms(query))
            asked.append(
                [word for word in terms_of_query if word in vocabulary]
            )
        searchable = [index for index, query in enumerate(asked) if query]
        hits: list[list[Hit]] = [[] for _ in queries]
        if not searchable:
            return hits
        products = len(searchable) * len(self.texts)
        if products > _MANY and find_spec("numba"):
            self.index.activate_numba_scorer()
            self.index.backend = "numba"
        places, scores = self.index.retrieve(
            [asked[n] for n in searchable],
            k=min(most, len(self.texts)),
            show_progress=False,
            n_threads=os.cpu_count(),
        )
        # The highest score first, equal ones in the order of the texts.
        order = np.lexsort((places, -scores), axis=-1)
        places = np.take_along_axis(places, order, 1)
        scores = np.take_along_axis(scores, order, 1)
        counts = (scores > 0).sum(axis=1)
        for index, row, values, count in zip(
            searchable,
            places,
            scores,
            counts.tolist(),
            strict=True,
        ):
            hits[index] = _hits(row[:count], values[:count])
        return hits


@dataclass(frozen=True)
class Dense:
    """Cosine of sentence vectors, -1 to 1; exact.

    Args:
        texts: what is searched.
        model: see `synth.local_models.scores.vectors`.
    """

    texts: tuple[str, ...]
    model: str

    @cached_property
    def table(self) -> Array:
        """[N, D] unit vectors of the texts."""
        return vectors(self.texts, self.model)

    def best(
        self,
        queries: Sequence[str],
        most: int,
    ) -> list[list[Hit]]:
        """(text, cosine) of the nearest ones, the nearest first."""
        if self.texts and queries:
            return nearest(
                vectors(queries, self.model),
                self.table,
                most,
            )
        return [[] for _ in queries]


def open_index(texts: Sequence[str], by: str) -> Index:
    """The index that `by` names: one of `BY_WORDS`, or a model for vectors (`hashing`, a folder, a
    name of the hub).
    """
    if by not in BY_WORDS:
        return Dense(tuple(texts), by)
    require("bm25s", "search", "search by words (bm25)")
    return Bm25(tuple(texts), stems=by == STEMS)


def nearest(
    queries: Array,
    table: Array,
    most: int,
) -> list[list[Hit]]:
    """Exact search by inner product.

    Args:
        queries: [Q, D].
        table: [N, D].
        most: how many a query.

    Returns:
        (row of the table, product) per query, the largest first, equal ones in the table's order.

    >>> import numpy as np
    >>> nearest(np.array([[1.0, 0.0]]), np.array([[0.5, 0.1], [2.0, 0.0], [0.5, 0.9]]), 2)
    [[(1, 2.0), (0, 0.5)]]
    """

    def block(start: int) -> list[list[Hit]]:
        return _block(
            queries[start : start + _ROWS],
            table,
            most,
        )

    starts = range(0, len(queries), _ROWS)
    # Numpy leaves the interpreter alone while it multiplies and sorts.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = pool.map(block, starts)
        return [hits for block in blocks for hits in block]


def _block(
    queries: Array,
    table: Array,
    most: int,
) -> list[list[Hit]]:
    """Tile after tile; what cannot be among a query's best is left out at once, the rest is sorted
    out when there is much of it.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    count = len(queries)
    floor = np.full(
        count,
        -np.inf,
        np.float32,
    )
    best = (
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros(0, np.float32),
    )
    parts = [best]
    waiting = 0
    for start in range(0, len(table), _TILE):
        tile = table[start : start + _TILE]
        width = len(tile)
        products = queries @ _whole(tile).T
        scores = products[:, :width]
        if not start and width > most:
            # The `most`-th best of the first tile: no text below it can be among the best.
            place = width - most
            floor = np.partition(scores, place, axis=1)[:, place]
        candidates = scores >= floor[:, None]
        flat = np.flatnonzero(candidates.ravel())
        rows, columns = np.divmod(flat, width)
        values = scores[rows, columns]
        parts.append((rows, columns + start, values))
        waiting += len(rows)
        if waiting > _SPARE * most * count:
            best, floor = _best(parts, count, most)
            parts = [best]
            waiting = len(best[0])
    (rows, places, values), _ = _best(parts, count, most)
    cuts = np.searchsorted(rows, np.arange(1, count))
    places_of = np.split(places, cuts)
    values_of = np.split(values, cuts)
    return [_hits(*pair) for pair in zip(places_of, values_of, strict=True)]


def _hits(places: Array, values: Array) -> list[Hit]:
    return list(
        zip(
            places.tolist(),
            values.tolist(),
            strict=True,
        )
    )


def _whole(tile: Array) -> Array:
    """A tile with rows of zeros up to a multiple of _LANES.

    A matrix product sums the rest of a tile in another order, so that equal texts would have
    unequal products.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    rows, width = tile.shape
    missing = -rows % _LANES
    if not missing:
        return tile
    zeros = np.zeros((missing, width), tile.dtype)
    return np.concatenate([tile, zeros])


def _best(
    parts: list[Candidates],
    count: int,
    most: int,
) -> tuple[Candidates, Array]:
    """(query, text, product) of the `most` best of each query, in order; and each query's least of
    them, -inf where it has fewer.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    rows, places, values = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    order = _order(rows, values)
    rows = rows[order]
    places = places[order]
    values = values[order]
    # The rank of each candidate among those of its query.
    firsts = np.searchsorted(rows, rows)
    ranks = np.arange(len(rows)) - firsts
    is_last = ranks == most - 1
    floor = np.full(
        count,
        -np.inf,
        np.float32,
    )
    floor[rows[is_last]] = values[is_last]
    chosen = ranks < most
    best = (rows[chosen], places[chosen], values[chosen])
    return best, floor


def _order(rows: Array, values: Array) -> Array:
    """Places by row (below 2 ** 8), then value, the largest first, then place (below 2 ** 24): one
    sort of 64-bit keys.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    # The bits of a float as a number that falls where the float rises.
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    positive = ~bits & np.uint32(0x7FFFFFFF)
    falling = np.where(
        bits >> 31,
        bits,
        positive,
    )
    places = np.arange(len(rows), dtype=np.uint64)
    keys = (
        rows.astype(np.uint64) << np.uint64(56)
        | falling.astype(np.uint64) << np.uint64(24)
        | places
    )
    keys.sort()
    keys &= np.uint64(0xFFFFFF)
    return keys.astype(np.int64)
