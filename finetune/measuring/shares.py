"""A share with how sure it is."""

from __future__ import annotations

from synth.statistics.intervals import wilson


def share_of(hits: int, count: int) -> dict[str, float]:
    """`share`, `low` and `high` (Wilson 95 %), 0 to 1.

    >>> share_of(1, 2)
    {'share': 0.5, 'low': 0.0945, 'high': 0.9055}
    """
    low, high = wilson(hits, count)
    return {
        "share": round(hits / max(1, count), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }
