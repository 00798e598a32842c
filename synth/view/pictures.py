"""Pictures as SVG inside a page: their colours are those of the stylesheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from synth.view.page import render_markup

# Units of a picture; the page scales it to its width.
WIDTH = 640
_ROW = 22
_LABEL = 200
_NUMBER = 90
# Points of a line that can be told apart.
MOST_POINTS = 400
_HEIGHT = 180
_MARGIN = 50


class Bar(NamedTuple):
    """A bar: where its top stands, and how long it is."""

    label: str
    value: int
    top: int
    length: float


def bars(pairs: Sequence[tuple[str, int]]) -> Any:
    """Horizontal bars with their numbers, as Markup."""
    most = max([1, *(value for _, value in pairs)])
    room = WIDTH - _LABEL - _NUMBER
    drawn = [
        Bar(
            label,
            value,
            place * _ROW,
            room * value / most,
        )
        for place, (label, value) in enumerate(pairs)
    ]
    return render_markup(
        "bars.svg",
        bars=drawn,
        width=WIDTH,
        height=max(1, len(drawn)) * _ROW,
        left=_LABEL,
    )


def number(value: float) -> str:
    """A number as an axis names it.

    >>> number(34821.0), number(0.00841934), number(1.5)
    ('34,821', '0.008419', '1.5')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def line(
    points: Sequence[tuple[float, float]],
    across: str,
    up: str,
) -> Any:
    """A line through points, as Markup; the vertical axis begins at 0 or below.

    Args:
        points: in the order of the horizontal axis; more than MOST_POINTS are thinned out evenly.
        across: what the horizontal axis measures.
        up: what the vertical axis measures.
    """
    step = max(1, len(points) // MOST_POINTS)
    shown = [*points[::step], *points[-1:]]
    xs = [x for x, _ in shown] or [0.0]
    ys = [y for _, y in shown] or [0.0]
    left, right = min(xs), max(xs)
    low, high = min(0.0, *ys), max(ys)
    wide = (right - left) or 1.0
    tall = (high - low) or 1.0
    path = " ".join(
        f"{_MARGIN + (WIDTH - 2 * _MARGIN) * (x - left) / wide:.1f},"
        f"{_HEIGHT - (_HEIGHT - 20) * (y - low) / tall:.1f}"
        for x, y in shown
    )
    return render_markup(
        "line.svg",
        path=path,
        across=across,
        up=up,
        ends=(number(left), number(right)),
        levels=(number(low), number(high)),
        width=WIDTH,
        height=_HEIGHT,
        margin=_MARGIN,
    )
