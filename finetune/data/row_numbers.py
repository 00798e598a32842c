"""Numbers in cells of rows that a loss reads: weights, margins, scores."""

from __future__ import annotations

import math

# The norm of a gradient is a root of squares, and float32 ends at 3.4e38: with a billion before the
# loss there is room for gradients of 1e9 yet.
LARGEST = 1e9


def is_usable(value: object) -> bool:
    """Whether a loss can be multiplied by a cell: a number, at most `LARGEST` on both sides of 0.

    >>> is_usable(-2), is_usable(1e30), is_usable(float("nan")), is_usable(True)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST


def beyond(value: object) -> str:
    """What to do about a cell that is not usable.

    >>> beyond(1e30)
    'The loss would overflow: divide all numbers of the column by one that brings it below 1e+09.'
    """
    if isinstance(value, int | float) and LARGEST < abs(value) < math.inf:
        return (
            "The loss would overflow: divide all numbers of the column by one that brings it "
            f"below {LARGEST:g}."
        )
    return "Correct the row."
