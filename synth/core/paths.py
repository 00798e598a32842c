"""Values of a row by name: `field`, or `list.name` for a field of a list's elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from synth.core.records import Row


def values_at(row: Row, path: str) -> Iterator[Any]:
    """The value, or all elements of a list, lists in lists walked too; nothing where there is None.

    >>> list(values_at({"made": [{"refs": ["a", "b"]}, {"refs": ["c"]}, {}]}, "made.refs"))
    ['a', 'b', 'c']
    """
    head, _, inner = path.partition(".")
    value = row.get(head)
    for element in value if isinstance(value, list | tuple) else [value]:
        inner_value = (
            element.get(inner)
            if inner and isinstance(element, dict)
            else element
        )
        if isinstance(inner_value, list | tuple):
            yield from inner_value
        elif inner_value is not None:
            yield inner_value


def heads(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of the row that paths begin with."""
    return tuple(path.partition(".")[0] for path in paths)
