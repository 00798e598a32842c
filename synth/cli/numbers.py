"""Numbers that options take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import click

from synth.core.errors import WrongUse


class Number(click.FloatRange):
    """A number of a range. What is no number (`nan`) is refused: it is neither above nor below any
    bound, so that a budget of it would cap nothing.
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
