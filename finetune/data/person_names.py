"""Names in the place of PersonX, PersonY and PersonZ: a model that has read texts about people
judges those better.
"""

from __future__ import annotations

import random
import re

PEOPLE = (
    "Alex",
    "Andrea",
    "Ari",
    "Bela",
    "Blair",
    "Casey",
    "Chris",
    "Dana",
    "Eden",
    "Finley",
    "Gray",
    "Hollis",
    "Jamie",
    "Jo",
    "Kai",
    "Kim",
    "Lane",
    "Luca",
    "Mika",
    "Morgan",
    "Noa",
    "Parker",
    "Quinn",
    "Remy",
    "Robin",
    "Sam",
    "Sascha",
    "Taylor",
    "Toni",
    "Val",
)
_PERSON = re.compile(r"Person ?([XYZ])\b")


def named(texts: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """The texts with the same names in all of them, other ones in each turn; drawn by the first
    text, so that a rerun gives the same.

    >>> named(("PersonX thanks PersonY", "PersonX wants to be kind"), 0)
    ('Remy thanks Toni', 'Remy wants to be kind')
    """
    chosen = random.Random(f"{turn} {texts[0]}").sample(PEOPLE, 3)
    return tuple(
        _PERSON.sub(lambda match: chosen["XYZ".index(match[1])], text)
        for text in texts
    )
