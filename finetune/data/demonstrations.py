"""Rows with worked examples of their task before them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from synth.core.errors import WrongUse

DEMONSTRATIONS = "demonstrations"
# Of a row among those that were read, from 1: a row may come several times.
NUMBER = "row_number"
_NEEDED = ("prompt", "completion")


def read(source: str, flag: str = "--input") -> list[JsonObject]:
    """Rows of `prompt`, `completion`, and `task` or `demonstrations`, which are texts.

    Raises:
        WrongUse: a column is missing, a cell is no text, or a prompt is empty.
    """
    dataset = rows.columns(
        rows.load(source), _NEEDED, source, also=("task", DEMONSTRATIONS)
    )
    made = [dict(row) for row in dataset]
    each_row(
        made, lambda number, row: _check(row, f"{flag} {source} row {number}")
    )
    return made


def _check(row: JsonObject, where: str) -> None:
    for name, value in row.items():
        # Nothing stands behind an empty question that could say the answer's first token.
        empty = name == "prompt" and not value
        if not isinstance(value, str) or empty:
            raise WrongUse(
                f"{where} {name}",
                f"{value!r}"[:80],
                "a text",
                "Write one; messages are not read here.",
            )


def shown(row: JsonObject) -> str:
    """A row as a demonstration.

    >>> shown({"prompt": "red pen ?", "completion": " red"})
    'red pen ? red'
    """
    return f"{row['prompt']}{row['completion']}"


def demonstrated(
    made: Sequence[JsonObject],
    *,
    shots: int,
    draws: int,
    seed: int,
    source: str,
    shelf: Sequence[JsonObject] | None = None,
) -> list[JsonObject]:
    """Each row `draws` times, each time with other demonstrations: rows of its task. Rows that
    bring `demonstrations` of their own come once. Each says its `NUMBER`.

    Args:
        made: rows of `read`.
        shots: demonstrations of a row.
        draws: times that a row comes.
        seed: of the choice.
        source: of the rows, for messages.
        shelf: rows that demonstrate; None for the others of `made`.

    Raises:
        WrongUse: a task with too few rows.
    """
    others = defaultdict(list)
    for row in made if shelf is None else shelf:
        others[row.get("task", "")].append(row)
    drawing = random.Random(seed)
    found = []
    for number, row in enumerate(made, 1):
        if DEMONSTRATIONS in row:
            found.append({**row, NUMBER: number})
            continue
        task = row.get("task", "")
        # Rows are told apart by what they show: the same question is no demonstration.
        free = [one for one in others[task] if shown(one) != shown(row)]
        if len(free) < shots:
            raise WrongUse(
                f"{source} row {number}",
                f"{len(free)} other rows of task {task!r}",
                f"{shots} or more",
                "Lower --shots, or bring more rows.",
            )
        for _ in range(draws):
            chosen = drawing.sample(free, shots)
            text = "\n".join(map(shown, chosen)) + "\n"
            found.append({**row, DEMONSTRATIONS: text, NUMBER: number})
    return found
