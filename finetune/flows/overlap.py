"""Rows to measure on that stand among the rows that a flow starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping

from finetune.core.rows import JsonObject
from finetune.flows.artifacts import Artifact, rows_of
from finetune.flows.loading import INPUT, sources_of
from finetune.flows.schema import FlowSpec

# What a row asks stands in the first of these that it has.
_ASKED = ("question", "prompt")


def overlaps(spec: FlowSpec, rows: Mapping[str, Artifact]) -> list[str]:
    """A sentence for each file of rows to measure on that shares questions with the input.

    Args:
        spec: what flow.yaml says.
        rows: the user's rows by their names.
    """
    names = {
        name
        for stage in spec.stages()
        if stage.kind == "evaluate"
        for name in sources_of(stage)
        if name in rows and name != INPUT
    }
    if not names or INPUT not in rows:
        return []
    asked = {_question(row) for row in rows_of(rows[INPUT])}
    said = []
    for name in sorted(names):
        measured = list(map(_question, rows_of(rows[name])))
        shared = sum(question in asked for question in measured)
        if shared:
            said.append(
                f"--rows {name}: {shared:,} of {len(measured):,} rows stand in --input, too; a "
                "student that has learnt a row is not measured by it"
            )
    return said


def _question(row: JsonObject) -> str:
    """What tells a row from others: its question, else all of it but its id."""
    for name in _ASKED:
        if row.get(name):
            return json.dumps(row[name], sort_keys=True, default=str)
    told = {name: value for name, value in row.items() if name != "id"}
    return json.dumps(told, sort_keys=True, default=str)
