"""Which names the fields of a step may have."""

from __future__ import annotations

from typing import Any

from synth.core.errors import WrongUse, printable
from synth.core.records import Row
from synth.packs.schema import PackSpec

# What a row has of its own: a step that wrote one of these would say who or what the row is.
RESERVED = ("id", "meta", "reply", "reason", "detail")
MOST_NAME = 128


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
