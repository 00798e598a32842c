"""A number among the marks that a filter left on a row."""

from __future__ import annotations

from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.core.strict_json import loads


def split_name(by: str) -> tuple[str, str]:
    """("critic", "score") of "critic.score".

    Raises:
        WrongUse: no filter or no mark.
    """
    part, dot, name = by.rpartition(".")
    if not (part and dot and name):
        raise WrongUse(
            "by",
            repr(by),
            "FILTER.MARK",
            "For example by=critic.score.",
        )
    return part, name


def mark(row: Row, by: tuple[str, str]) -> float | None:
    """What the last verdict of a filter says under a mark's name; None where it says no number
    there.
    """
    part, name = by
    meta = row.get("meta") or {}
    for verdict in reversed(meta.get("verdicts") or []):
        if verdict["filter"] != part or not verdict["marks"]:
            continue
        marks = loads(verdict["marks"])
        number = None
        if isinstance(marks, dict):
            number = marks.get(name)
        if isinstance(number, bool):
            return None
        if isinstance(number, int | float):
            return float(number)
        return None
    return None
