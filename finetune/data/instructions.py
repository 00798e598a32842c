"""What stands before queries and texts of each task, so that one encoder serves several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.data.query_lists import Listed
from synth.core import strict_json
from synth.core.errors import WrongUse, did_you_mean

OPTION = "--instructions"
_EXAMPLE = '{"qa": {"query": "Find an answer: ", "document": "A passage: "}}'


@dataclass(frozen=True)
class Instruction:
    """Of one task; what stands before a text as it is, blanks included.

    Attributes:
        query: before each query.
        document: before each text.
    """

    query: str
    document: str


# By the names of tasks, as rows have them in `task`.
Instructions = Mapping[str, Instruction]


def read(path: str) -> dict[str, Instruction]:
    """The instructions of a JSON file: `{task: {"query": TEXT, "document": TEXT}}`.

    Raises:
        WrongUse: no such file, or one of another shape.
    """
    where = f"{OPTION} {path}"
    try:
        given = strict_json.decoder().decode(
            Path(path).read_text(encoding="utf-8")
        )
    except (OSError, ValueError) as error:
        raise WrongUse(
            where, str(error), "a JSON file", f"For example {_EXAMPLE}."
        ) from error
    if not isinstance(given, dict) or not given:
        raise _shapeless(where, given)
    found = {}
    for task, sides in given.items():
        has_sides = isinstance(sides, dict) and set(sides) == {
            "query",
            "document",
        }
        if not has_sides or not all(
            isinstance(text, str) for text in sides.values()
        ):
            raise _shapeless(where, sides)
        found[task] = Instruction(**sides)
    return found


def instructed(
    listed: Sequence[Listed], instructions: Instructions, where: str
) -> list[Listed]:
    """Lists with the instructions of their tasks before queries and texts.

    Raises:
        WrongUse: a list of no task, or of one without instructions.
    """
    made = []
    for row in listed:
        told = of_task(row.task, instructions, where)
        texts = tuple(told.document + text for text in row.documents)
        query = told.query + row.query
        made.append(replace(row, query=query, documents=texts))
    return made


def of_task(task: str, instructions: Instructions, where: str) -> Instruction:
    """The instructions of a task.

    Raises:
        WrongUse: there are none.
    """
    if task not in instructions:
        raise WrongUse(
            where,
            f"task {task}" if task else "a row without `task`",
            f"a task of {OPTION}",
            did_you_mean(task, instructions),
        )
    return instructions[task]


def by_task(listed: Sequence[Listed]) -> dict[str, list[int]]:
    """The places of the rows of each task, the tasks in the order of their first rows."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(listed):
        places.setdefault(row.task, []).append(place)
    return places


def _shapeless(where: str, found: object) -> WrongUse:
    return WrongUse(
        where,
        f"{found!r}"[:120],
        "two texts, query and document, for each task",
        f"For example {_EXAMPLE}.",
    )
