"""Which names the fields of a step may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from synth.core.errors import WrongUse, printable
from synth.core.records import Row
from synth.packs.schema import PackSpec

# What a row has of its own: a step that wrote one of these would say who or what the row is.
RESERVED = ("id", "meta", "reply", "reason", "detail")
MOST_NAME = 128
_NO_LISTS = ("text", "number", "bool")


def check_name(name: str, spec: PackSpec, where: str) -> None:
    """Raises WrongUse where a field's name is taken, or cannot be seen for what it is."""
    visible = (
        printable(name) == name
        and not {"\n", "\t"} & {*name}
        and 0 < len(name) <= MOST_NAME
    )
    if name in RESERVED or not visible:
        raise WrongUse(
            where,
            f"field {name!r}"[:200],
            "a visible name that no row has by itself",
            "Give the field another name.",
        )
    # Names beside which templates see no field.
    taken: dict[str, Any] = {
        "an input": spec.inputs,
        "a constant": spec.constants,
        "a word of templates": ("examples", "fence"),
    }
    for what, names in taken.items():
        if name in names:
            raise WrongUse(
                where,
                f"field {name!r}, which is {what} too",
                f"a name that is not {what}'s",
                "Rename the one or the other: templates could see only one of them.",
            )


def check_steps(spec: PackSpec, where: Callable[..., str]) -> None:
    """Raises WrongUse where two steps have one name.

    Args:
        spec: the pack.
        where: the line of a place in it.
    """
    names: set[str] = set()
    for index, step in enumerate(spec.steps):
        if step.name in names:
            raise WrongUse(
                where("steps", index, "name"),
                f"step {step.name!r} twice",
                "each step once",
                "Give one of them another name, and its templates too.",
            )
        names.add(step.name)


def check_text(name: str, made: Row, where: str) -> None:
    """Raises WrongUse where a template would write a text over a list or a number, whose column
    holds no text.

    Args:
        name: of the field.
        made: fields of the steps so far, with their kinds.
        where: the place in the pack.
    """
    if made.get(name, "text") not in ("text", "any"):
        raise WrongUse(
            where,
            f"field {name!r}, which a step writes as no text",
            "a name of its own: templates write texts",
            "Give the field another name.",
        )


def check_list(name: str, spec: PackSpec, made: Row, where: str) -> None:
    """Raises WrongUse where a list is named and the pack says that it is none.

    Args:
        name: of an input, a constant or a field.
        spec: the pack.
        made: fields of the steps so far, with their kinds.
        where: the place in the pack.
    """
    kind = made.get(name, "any")
    if name in spec.inputs:
        kind = spec.inputs[name].type
    elif name in spec.constants and not isinstance(spec.constants[name], list):
        kind = "text"
    if kind not in _NO_LISTS:
        return
    todo = "Name another one, or say `type: list` of an input that is one."
    raise WrongUse(
        where,
        f"{name!r}, which is a {kind}",
        "a list",
        todo,
    )
