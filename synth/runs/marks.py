"""A number among the marks that a filter left on a row, or among the row's own fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.core.rows import number_of
from synth.core.strict_json import loads

# Stands in the place of a filter for the fields of a row.
ROW = "row"


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
            "FILTER.MARK, or row.FIELD",
            "For example by=critic.score or by=row.overall.",
        )
    return part, name


def mark(row: Row, by: tuple[str, str]) -> float | None:
    """What the last verdict of a filter says under a mark's name, or the row's own field under a
    name behind `row`; None where no number stands there.
    """
    part, name = by
    if part == ROW:
        return _number(number_of(row.get(name)))
    meta = row.get("meta")
    # A column of that name may be somebody else's.
    verdicts = meta.get("verdicts") if isinstance(meta, Mapping) else None
    for verdict in reversed(verdicts or []):
        if verdict["filter"] != part or not verdict["marks"]:
            continue
        marks = loads(verdict["marks"])
        number = None
        if isinstance(marks, dict):
            number = marks.get(name)
        return _number(number)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
