"""Shares that hold by count and not by luck."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from math import floor

Cell = tuple[int, ...]


def quotas(
    weights: Sequence[float],
    rows: int,
    rng: random.Random,
) -> list[int]:
    """How many of some rows each weight gets: whole numbers, none further than 1 from its share.

    What is left over goes to the largest remainders (Hamilton), equal ones by lot.

    >>> quotas([50, 30, 20], 10, random.Random(0))
    [5, 3, 2]
    """
    total = sum(weights)
    counts = []
    missing = []
    for weight in weights:
        exact = rows * weight / total
        count = floor(exact)
        counts.append(count)
        missing.append(exact - count)
    places = list(range(len(counts)))
    rng.shuffle(places)
    places.sort(key=missing.__getitem__, reverse=True)
    left = rows - sum(counts)
    for place in places[:left]:
        counts[place] += 1
    return counts


def spread_out(counts: Sequence[int], rng: random.Random) -> list[int]:
    """The numbers of the shares, as often as they count, in a drawn order."""
    places: list[int] = []
    for place, count in enumerate(counts):
        places.extend([place] * count)
    rng.shuffle(places)
    return places


class Grid:
    """How often each cell of a grid stands: none below the whole part of its share, and the shares
    of each side as near as whole rows allow.

    What the rounding leaves over is given one row at a time to the cell whose sides lack most.

    Args:
        sides: the weights of each side's values.
        rows: how many there are.
        rng: decides between equal cells.

    Attributes:
        counts: rows of each cell.
    """

    def __init__(
        self,
        sides: Sequence[Sequence[float]],
        rows: int,
        rng: random.Random,
    ) -> None:
        self.counts: dict[Cell, int] = {}
        # What a cell lacks, and what each value of each side does.
        self.of_cell: dict[Cell, float] = {}
        self.of_side: list[list[float]] = []
        for weights in sides:
            total = sum(weights)
            self.of_side.append([rows * one / total for one in weights])
        numbers = [range(len(weights)) for weights in sides]
        cells = list(product(*numbers))
        rng.shuffle(cells)
        for cell in cells:
            self.of_cell[cell] = self._share(cell, rows)
        for cell in cells:
            self.counts[cell] = 0
            self._give(cell, floor(self.of_cell[cell]))
        left = rows - sum(self.counts.values())
        for _ in range(left):
            self._give(max(cells, key=self._lack), 1)

    def _share(
        self,
        cell: Cell,
        rows: int,
    ) -> float:
        """Rows of a cell, as its sides' shares say, before any is given."""
        share = float(rows)
        for side, place in enumerate(cell):
            share *= self.of_side[side][place] / rows
        return share

    def _give(
        self,
        cell: Cell,
        rows: int,
    ) -> None:
        self.counts[cell] += rows
        self.of_cell[cell] -= rows
        for side, place in enumerate(cell):
            self.of_side[side][place] -= rows

    def _lack(self, cell: Cell) -> tuple[float, float]:
        """How much the sides of a cell lack, then how much it lacks itself."""
        lack = 0.0
        for side, place in enumerate(cell):
            lack += self.of_side[side][place]
        # Equal ones differ by the rounding of floats.
        return round(lack, 9), round(self.of_cell[cell], 9)
