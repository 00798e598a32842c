"""Two runs, or two exits of one run, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from synth.view.rows import RunRows

# A row of a run: its kind and its number.
Spot = tuple[str, int]
Pair = tuple[Spot, Spot]


class Outcomes(NamedTuple):
    """What became of each seed of a run.

    Attributes:
        seeds: [seeds] hashes of ids, ascending.
        rows: [seeds] the first row of each, a kept one where there is one; dropped ones are counted
            behind the kept ones.
        kept: [seeds] whether a row of it is kept.
        reasons: [seeds] codes of the reasons of `rows`.
    """

    seeds: Any
    rows: Any
    kept: Any
    reasons: Any


@lru_cache(maxsize=4)
def outcomes(rows: RunRows) -> Outcomes:
    """What became of each seed; 25 bytes a row."""
    ids = rows.ids()
    # Kept rows stand first, so the first row of a seed is a kept one where there is one.
    seeds, first = np.unique(ids, return_index=True)
    count = rows.count("kept")
    reasons, _ = rows.codes("dropped")
    none = np.full(count, rows.reasons.code(""), np.uint16)
    codes = np.concatenate([none, reasons])
    return Outcomes(
        seeds,
        first,
        first < count,
        codes[first],
    )


class Change(NamedTuple):
    """Seeds that fared alike in two runs.

    Attributes:
        name: what became of them, in words.
        pairs: their rows in the one run and in the other, for the first of them.
        total: how many there are.
    """

    name: str
    pairs: list[Pair]
    total: int


CHANGES = ("gained", "lost", "other reason", "kept in both", "same reason")


class Changes:
    """Two runs by seed.

    Args:
        before, after: the runs; seeds that one of them lacks are counted apart.
    """

    def __init__(self, before: RunRows, after: RunRows) -> None:
        self.before = before
        self.after = after
        old = outcomes(before)
        new = outcomes(after)
        shared, at_old, at_new = np.intersect1d(
            old.seeds,
            new.seeds,
            assume_unique=True,
            return_indices=True,
        )
        self.only_before = len(old.seeds) - len(shared)
        self.only_after = len(new.seeds) - len(shared)
        self._rows = old.rows[at_old], new.rows[at_new]
        was_kept = old.kept[at_old]
        is_kept = new.kept[at_new]
        fell = ~was_kept & ~is_kept
        names = [after.reasons.code(name) for name in before.reasons.names]
        table = np.array(names, np.int64)
        alike = table[old.reasons[at_old]] == new.reasons[at_new]
        self.masks = {
            "gained": ~was_kept & is_kept,
            "lost": was_kept & ~is_kept,
            "other reason": fell & ~alike,
            "kept in both": was_kept & is_kept,
            "same reason": fell & alike,
        }

    def change(self, name: str, start: int, most: int) -> Change:
        """Seeds of one fate, from the start-th on."""
        places = np.flatnonzero(self.masks[name])
        shown = places[start : start + most]
        old, new = (rows[shown].tolist() for rows in self._rows)
        pairs = [
            (spot(self.before, one), spot(self.after, two))
            for one, two in zip(old, new, strict=True)
        ]
        return Change(name, pairs, len(places))


@lru_cache(maxsize=2)
def changes(before: RunRows, after: RunRows) -> Changes:
    """Two runs by seed, kept for the next page."""
    return Changes(before, after)


def spot(rows: RunRows, place: int) -> Spot:
    """The row at a place of all kept and dropped rows."""
    kept = rows.count("kept")
    return ("kept", place) if place < kept else ("dropped", place - kept)


def beside(
    rows: RunRows,
    reason: str,
    start: int,
    most: int,
) -> Change:
    """Dropped rows of one reason beside a kept row of the same seed."""
    ids = rows.ids()
    kept = rows.count("kept")
    codes, _ = rows.codes("dropped")
    dropped = np.flatnonzero(codes == rows.reasons.code(reason)) + kept
    of_seeds = outcomes(rows)
    at = np.searchsorted(of_seeds.seeds, ids[dropped])
    meets = of_seeds.kept[at]
    numbers = dropped[meets]
    partners = of_seeds.rows[at[meets]]
    pairs = [
        (spot(rows, one), spot(rows, two))
        for one, two in _slice(partners, numbers, start, most)
    ]
    return Change(reason, pairs, len(numbers))


def _slice(
    first: Any,
    second: Any,
    start: int,
    most: int,
) -> Sequence[tuple[int, int]]:
    end = start + most
    ones = first[start:end].tolist()
    twos = second[start:end].tolist()
    return list(zip(ones, twos, strict=True))
