"""Short codes of vectors: the nearest of some means, then the nearest of what is left, level after
level (residual quantisation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = Annotated[NDArray[np.float64], "point width"]
Places = Annotated[NDArray[np.int64], "point"]
# Moves of the means; they stand still before, as a rule.
_MOST_MOVES = 100


class ResidualCodes(NamedTuple):
    """What vectors became.

    Attributes:
        codes: [N, L] the number of a mean at each level, from 0.
        books: of each level the means [K, D].
    """

    codes: Annotated[NDArray[np.int64], "point level"]
    books: Sequence[Points]

    def decoded(self) -> Points:
        """[N, D] the sum of each vector's means."""
        levels = zip(self.books, self.codes.T, strict=True)
        parts = [book[places] for book, places in levels]
        total: Points = np.sum(parts, axis=0)
        return total


def residual_codes(
    vectors: Points, levels: int, size: int, seed: int
) -> ResidualCodes:
    """Codes of vectors, by k-means over what the levels before left (Zeghidour et al.,
    arXiv:2107.03312, section III-C; the means are not learnt by gradients here).

    Args:
        vectors: [N, D].
        levels: 1 or more.
        size: means of a level, at most N.
        seed: of the first means.

    >>> found = residual_codes(np.array([[0.0], [1.0], [10.0], [11.0]]), 2, 2, 0)
    >>> found.decoded().ravel().tolist()
    [0.0, 1.0, 10.0, 11.0]
    """
    draw = np.random.default_rng(seed)
    left = vectors
    books = []
    codes = []
    for _ in range(levels):
        means = _means(left, size, draw)
        places = nearest_mean(left, means)
        books.append(means)
        codes.append(places)
        left = left - means[places]
    return ResidualCodes(np.stack(codes, axis=1), books)


def nearest_mean(points: Points, means: Points) -> Places:
    """[N] the number of the mean that is nearest to each point, the lower one of two."""
    places: Places = _distances(points, means).argmin(axis=1)
    return places


def _distances(points: Points, means: Points) -> Points:
    """[N, K] squared distances less the points' own squared lengths, which choose no mean."""
    lengths = np.square(means).sum(axis=1)
    products = points @ means.T
    near: Points = lengths - 2 * products
    return near


def _means(points: Points, size: int, draw: np.random.Generator) -> Points:
    """[K, D] means that Lloyd's moves leave where they are. One without points stays."""
    means = _first(points, size, draw)
    before = nearest_mean(points, means)
    for _ in range(_MOST_MOVES):
        counts = np.bincount(before, minlength=size)
        sums = np.zeros_like(means)
        np.add.at(sums, before, points)
        there = counts > 0
        inside = counts[there, None]
        means[there] = sums[there] / inside
        after = nearest_mean(points, means)
        if (after == before).all():
            break
        before = after
    return means


def _first(points: Points, size: int, draw: np.random.Generator) -> Points:
    """[K, D] points far from each other: each is drawn by its squared distance from those before
    (k-means++, Arthur and Vassilvitskii 2007).
    """
    count = len(points)
    chosen = [int(draw.integers(count))]
    far = np.full(count, np.inf)
    while len(chosen) < size:
        last = points[chosen[-1]]
        squares = np.square(points - last)
        far = np.minimum(far, squares.sum(axis=1))
        total = far.sum()
        # Where all points are taken, any other one is as good.
        shares = far / total if total > 0 else None
        chosen.append(int(draw.choice(count, p=shares)))
    return points[chosen].copy()
