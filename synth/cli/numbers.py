"""Numbers that options take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import click

from synth.core.errors import WrongUse
from synth.core.registry import MOST

# A number of a model ends at 3.4e38 (float32).
LARGEST = 1e38


class Number(click.FloatRange):
    """A number of a range, at most LARGEST on both sides of 0, or infinite. What is no number
    (`nan`) is refused: it is neither above nor below any bound, so that a budget of it would cap
    nothing.
    """

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The number; a usage error where there is none, or it lies outside the range."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        if LARGEST < abs(number) < math.inf:
            self.fail(f"{value!r} is beyond {LARGEST:g}.", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number of a range, which ends at MOST where it has no end of its own."""

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The number; a usage error where there is none, or it lies outside the range."""
        number = super().convert(value, param, ctx)
        if self.max is None and number > MOST:
            self.fail(f"{value!r} is beyond {MOST:,}.", param, ctx)
        return number


def check_finite(given: Mapping[str, object]) -> None:
    """Refuses numbers that would make every weight nan.

    Args:
        given: values of options by their names, with underscores.

    Raises:
        WrongUse: nan or an infinite number.
    """
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongUse(
                f"--{name.replace('_', '-')}",
                f"{value}",
                "a finite number",
                "Give another one.",
            )
