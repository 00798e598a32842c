"""Numbers that a command line gives a loss that stands in no room of losses."""

from __future__ import annotations

from math import isfinite
from typing import cast


def finite(name: str, value: object) -> float:
    """A parameter that is a finite number.

    Raises:
        ValueError: it is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(number := cast("float", value)):
        raise ValueError(f"{name}={value}, which is no number")
    return number


def check_whole(name: str, value: object, least: int) -> None:
    """Raises ValueError where a parameter is no whole number from `least` on."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or cast("int", value) < least:
        raise ValueError(
            f"{name}={value}, which is no whole number from {least} on"
        )
