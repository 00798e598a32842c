"""The texts between which a student chooses, row by row."""

from __future__ import annotations

from collections.abc import Iterable

from finetune.core.rows import JsonObject
from finetune.flows.formulas import Formula
from synth.core.errors import RowFault, WrongUse
from synth.core.records import Values


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
