"""Tags of words that mark entities: B-KIND begins one, I-KIND goes on, O is outside of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words that stand together.

    Attributes:
        first: number of its first word, from 0.
        behind: number of the first word behind it.
        kind: of the entity.
    """

    first: int
    behind: int
    kind: str


def kind_of(tag: str) -> str:
    """The kind that a tag marks; "" of a word outside.

    >>> kind_of("B-PER"), kind_of("O")
    ('PER', '')
    """
    begins, dash, kind = tag.partition("-")
    return kind if dash and begins in ("B", "I") else ""


def mark_entities(tags: Iterable[str]) -> bool:
    """Whether tags are of this form, and some mark an entity."""
    found = set(tags)
    marks = {tag for tag in found if kind_of(tag)}
    return bool(marks) and found - marks <= {OUTSIDE}


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of a row of tags, as conlleval reads them: an I-KIND behind another kind, or
    behind a word outside, begins one.

    >>> [tuple(one) for one in sorted(entities(["B-A", "I-A", "O", "I-B", "B-B"]))]
    [(0, 2, 'A'), (3, 4, 'B'), (4, 5, 'B')]
    """
    found = set()
    first = 0
    before = ""
    for number, tag in enumerate([*tags, OUTSIDE]):
        kind = kind_of(tag)
        goes_on = kind == before and tag.startswith("I-")
        if before and not goes_on:
            found.add(Entity(first, number, before))
        if not goes_on:
            first = number
        before = kind
    return found
