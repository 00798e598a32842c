"""The best dependency tree of scores (Chu and Liu, 1965; Edmonds, 1967)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from finetune.data.trees import a_circle

# By word and by place of its head, the root first.
Scores = Annotated[NDArray[np.float64], "word place"]
# By place of a dependent and of its head, each with the root first.
_Square = Annotated[NDArray[np.float64], "place place"]


def best_tree(scores: Scores) -> list[int]:
    """The head of each word, from 1 (0 for the root), in the tree of the largest sum that has one
    root; in time of n^3.

    Args:
        scores: [W, W + 1] finite.

    Source: Edmonds, Optimum Branchings, 1967; McDonald et al., Non-projective Dependency Parsing
        using Spanning Tree Algorithms, 2005. Arcs from the root are lowered by more than all
        others can differ, so that a second one never pays.

    Example:
        >>> best_tree(np.array([[0.0, 0, 5], [1, 4, 0]]))
        [2, 0]
    """
    count = len(scores)
    if not count:
        return []
    square = np.full((count + 1, count + 1), -np.inf)
    square[1:] = scores
    span = float(np.ptp(scores))
    square[1:, 0] -= (span + 1.0) * (count + 1)
    np.fill_diagonal(square, -np.inf)
    return _branching(square)[1:]


def _branching(scores: _Square) -> list[int]:
    """The head of each place, 0 for that of the root itself, by whole circles drawn together."""
    count = len(scores)
    heads = [0, *map(int, scores[1:].argmax(axis=1))]
    circle = a_circle(heads[1:])
    if not circle:
        return heads
    inside = set(circle)
    others = [place for place in range(count) if place not in inside]
    kept = scores[circle, [heads[place] for place in circle]]
    # What it costs to break the circle at a word: another head in place of its own.
    broken = scores[np.ix_(circle, others)] - kept[:, None]
    leaving = scores[np.ix_(others, circle)]
    last = len(others)
    smaller = np.full((last + 1, last + 1), -np.inf)
    smaller[:last, :last] = scores[np.ix_(others, others)]
    smaller[last, :last] = broken.max(axis=0)
    smaller[:last, last] = leaving.max(axis=1)
    found = _branching(smaller)
    for number, place in enumerate(others[1:], 1):
        head = found[number]
        if head == last:
            heads[place] = circle[int(leaving[number].argmax())]
        else:
            heads[place] = others[head]
    entered = found[last]
    word = circle[int(broken[:, entered].argmax())]
    heads[word] = others[entered]
    return heads
