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
    places = count + 1
    square = np.full((places, places), -np.inf)
    square[1:] = scores
    span = float(np.ptp(scores))
    more = span + 1.0
    square[1:, 0] -= more * places
    np.fill_diagonal(square, -np.inf)
    heads = _branching(square)
    return heads[1:]


def _branching(scores: _Square) -> list[int]:
    """The head of each place, 0 for that of the root itself, by whole circles drawn together."""
    likeliest = scores[1:].argmax(axis=1)
    heads = [0, *likeliest.tolist()]
    circle = a_circle(heads[1:])
    if not circle:
        return heads
    drawn = _Circle(scores, heads, circle)
    found = _branching(drawn.smaller())
    return drawn.opened(found)


class _Circle:
    """Words that hang on each other, drawn together to one place behind all others.

    Args:
        scores: of all places.
        heads: of all places, by which the words hang in a circle.
        circle: these words.

    Attributes:
        others: places outside, the root first.
        broken: [C, O] what it costs to break the circle at a word: a head outside in place of its
            own.
        leaving: [O, C] scores of words inside as heads of places outside.
    """

    def __init__(
        self, scores: _Square, heads: list[int], circle: list[int]
    ) -> None:
        self.scores = scores
        self.heads = heads
        self.circle = circle
        inside = set(circle)
        places = range(len(scores))
        self.others = [place for place in places if place not in inside]
        own = [heads[place] for place in circle]
        kept = scores[circle, own]
        inwards = np.ix_(circle, self.others)
        outwards = np.ix_(self.others, circle)
        entering = scores[inwards]
        self.broken = entering - kept[:, None]
        self.leaving = scores[outwards]

    def smaller(self) -> _Square:
        """Scores with the circle as one place, the last."""
        last = len(self.others)
        places = last + 1
        made = np.full((places, places), -np.inf)
        outside = np.ix_(self.others, self.others)
        made[:last, :last] = self.scores[outside]
        made[last, :last] = self.broken.max(axis=0)
        made[:last, last] = self.leaving.max(axis=1)
        return made

    def opened(self, found: list[int]) -> list[int]:
        """Heads of all places, from those of the smaller scores."""
        heads = list(self.heads)
        last = len(self.others)
        doors = self.leaving.argmax(axis=1)
        for number in range(1, last):
            head = found[number]
            place = self.others[number]
            if head == last:
                door = int(doors[number])
                heads[place] = self.circle[door]
            else:
                heads[place] = self.others[head]
        entered = found[last]
        costs = self.broken[:, entered]
        best = int(costs.argmax())
        word = self.circle[best]
        heads[word] = self.others[entered]
        return heads
