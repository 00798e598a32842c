"""When the rounds of a flow end."""

from __future__ import annotations

from collections.abc import Sequence


def settled(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` rounds brought nothing better than what was before them.

    >>> settled([0.5, 0.4, 0.6], 2), settled([0.5, 0.4, 0.5], 2)
    (False, True)
    """
    return len(scores) > patience and max(scores[-patience:]) <= max(
        scores[:-patience]
    )
