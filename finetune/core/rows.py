"""Rows and records as JSON has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

# One JSON object that is being made: a row, a reply, or what a training writes down of itself.
# `synth.core.records.Row` is one that is read.
JsonObject = dict[str, Any]
# Facts of rows, each a list with one entry a row: `weights`, `tasks`, `task_numbers`, `ids`.
RowFacts = Mapping[str, Sequence[Any]]
# JSON Schemas of functions that a conversation may call.
Tools = Sequence[JsonObject] | None


def without(row: Mapping[str, Any], names: Collection[str]) -> JsonObject:
    """A row without some of its columns.

    >>> without({"text": "red pen", "label": 1}, ["label"])
    {'text': 'red pen'}
    """
    return {name: row[name] for name in row if name not in names}
