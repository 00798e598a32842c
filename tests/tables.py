"""Tables of cases in plain text, which people read more easily than nested brackets."""

from __future__ import annotations

import ast
from typing import Any


def table(text: str) -> list[Any]:
    """The rows of a table, one a line: cells are Python's literals with strokes between them."""
    lines = [line.split(" | ") for line in text.strip("\n").split("\n")]
    return [tuple(map(_value, line)) for line in lines]


def cells(text: str) -> list[Any]:
    """The cells of a table, line by line, as one list."""
    parts = text.strip("\n").replace("\n", " | ").split(" | ")
    return list(map(_value, parts))


def _value(cell: str) -> Any:
    return ast.literal_eval(cell.strip())
