"""The texts between which a student chooses, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from finetune.core.rows import JsonObject
from finetune.flows.artifacts import Artifact, rows_of
from finetune.flows.formulas import Formula
from finetune.flows.row_schema import SelectSpec
from finetune.flows.schema import FlowSpec, StageSpec
from synth.core.errors import RowFault, WrongUse
from synth.core.records import Values

_COLUMN = re.compile(r"\brow\.([A-Za-z_]\w*)")
# What an answer writes beside a row.
_ANSWERED = frozenset({"reply", "shares", "margin"})


def check_choices(spec: FlowSpec, given: Mapping[str, Artifact]) -> None:
    """Looks at the choices of the user's rows that reach a stage as they are, before anything is
    played: the stage would find out after what was paid and learnt before it.

    Args:
        spec: the flow.
        given: name -> rows of the user's.

    Raises:
        WrongUse: see `choices_of`.
    """
    stages = {stage.name: stage for stage in spec.stages()}
    for stage in stages.values():
        if stage.choices is None:
            continue
        template = str(stage.choices)
        columns = frozenset(_COLUMN.findall(template))
        name = _origin(stage, stages, columns)
        if name is None or name not in given:
            continue
        rows = given[name]
        where = f"--rows {name}={rows.where}, choices of {stage.name}"
        choices_of(rows_of(rows), template, {**spec.values, "round": 0}, where)


def _origin(
    stage: StageSpec,
    stages: Mapping[str, StageSpec],
    columns: frozenset[str],
) -> str | None:
    """The name of what reaches a stage with all its rows and some of their columns as they are;
    None where there is no one such thing.
    """
    for _ in stages:
        if stage.source is None or len(stage.source) > 1:
            return None
        (name,) = stage.source
        if name not in stages:
            return name
        stage = stages[name]
        if not _keeps(stage, columns):
            return None
    return None


def _keeps(stage: StageSpec, columns: frozenset[str]) -> bool:
    """Whether a stage leaves all rows, and these columns as they are."""
    if stage.select is not None:
        written = {*stage.select.make, "prompt", "completion"}
        return _takes_all(stage.select) and not columns & written
    return stage.answer is not None and not columns & _ANSWERED


def _takes_all(select: SelectSpec) -> bool:
    """Whether every row goes on with its columns."""
    fewer = (
        select.where,
        select.each,
        select.group,
        select.distinct,
        select.sample,
        select.share,
        select.most,
    )
    return not select.only and all(part is None for part in fewer)


def choices_of(
    rows: Iterable[JsonObject], template: str, values: Values, where: str
) -> list[list[str]]:
    """What a template makes of each row; a number is the text that it is written as.

    Args:
        rows: which the template sees as `row`.
        template: of a list.
        values: what it sees besides.
        where: its stage, for messages.

    Raises:
        WrongUse: a row of which it makes no list, an empty one, or one with something that is
            neither a number nor a text with words, or with the same text twice.
    """
    formula = Formula(template, where)
    return [
        _of_row(formula, {**values, "row": row}, f"{where}, row {number}")
        for number, row in enumerate(rows, 1)
    ]


def _of_row(formula: Formula, values: Values, where: str) -> list[str]:
    try:
        listed = formula.value(values)
    except RowFault as fault:
        raise _fault(where, str(fault.args[1])) from fault
    found = listed if isinstance(listed, list) else []
    texts = [str(one) for one in found if _is_choice(one)]
    if not texts or len({*texts}) < len(found):
        raise _fault(where, f"{listed!r:.200}")
    return texts


def _is_choice(value: object) -> bool:
    """Whether a value is a number, or a text that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fault(where: str, found: str) -> WrongUse:
    return WrongUse(
        where,
        found,
        "a list of texts, each once",
        "Correct the row or the template.",
    )
