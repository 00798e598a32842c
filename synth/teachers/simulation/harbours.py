"""A small made-up reference work about harbours, and a teacher that knows its words: for the
retrievers' demo.

Passages call harbour things by dialect names that no encoder knows; people ask by everyday names.
So a retriever must learn the words from queries that the teacher writes: by place alone it finds a
dozen passages of which one is right.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass

THINGS = {
    "brollet": "tide gauge",
    "tarnick": "fog horn",
    "sprell": "signal lamp",
    "quonder": "mooring post",
    "vimble": "weather vane",
    "haskin": "anchor chain",
    "plunt": "fish scale",
    "dorrig": "harbour crane",
    "essel": "rescue boat",
    "grommin": "storm bell",
    "lathrin": "net rack",
    "moskel": "rope store",
}
PLACES = (
    "Harrow Quay",
    "Malm Haven",
    "Tern Point",
    "Gull Bay",
    "Sable Cove",
    "Wick Sands",
    "North Pier",
    "Elder Rock",
    "Pine Ness",
    "Brim Reach",
    "Cold Strand",
    "Lark Inlet",
    "Dune Head",
    "Fell Harbour",
    "Moss Sound",
    "Otter Creek",
    "Reed Mouth",
    "Stone Ferry",
    "Thorn Bight",
    "Vale Shore",
    "West Mole",
    "Yarrow Dock",
    "Ash Landing",
    "Birch Ford",
)
_KEEPERS = (
    "Ann Lund",
    "Bo Ek",
    "Cid Marsh",
    "Dora Fenn",
    "Emil Voss",
    "Fay Holt",
    "Gus Reef",
    "Hedda Sand",
)
_STUFFS = ("brass", "oak", "iron", "granite", "copper", "larch")
_PASSAGES = (
    (
        "The {thing} of {place} was put up in {year}. It is made of {stuff}, and {keeper} looks "
        "after it."
    ),
    "At {place} stands a {thing} of {stuff} from {year}; its keeper is {keeper}.",
    "{keeper} has charge of the {thing} at {place}, a piece of {stuff} that dates from {year}.",
)
_ASKED = (
    "who looks after the {plain} at {place}",
    "when was the {plain} of {place} put up",
    "what is the {plain} at {place} made of",
)
_HELD_OUT = (
    "caretaker of the {plain}, {place}",
    "how old is the {place} {plain}",
    "{place}: material of its {plain}",
)
_THING = re.compile("|".join(THINGS))
_PLACE = re.compile("|".join(PLACES))
_PLAIN = re.compile("|".join(THINGS.values()))
_FENCED = re.compile(
    r"===== (?P<fence>\w+) PASSAGE =====\n(?P<passage>.*?)\n===== (?P=fence) (?:END|QUERY) =====",
    re.DOTALL,
)
_QUERY = re.compile(
    r"===== (?P<fence>\w+) QUERY =====\n(?P<query>.*?)\n===== (?P=fence) (?:END|PASSAGE) =====",
    re.DOTALL,
)


@dataclass(frozen=True)
class Library:
    """Passages of all places, and queries with the one passage that answers each, of places that no
    training passage is about.
    """

    passages: tuple[str, ...]
    train: tuple[str, ...]
    queries: tuple[tuple[str, str], ...]


def make_library(seed: int = 0, held_out: int = 8) -> Library:
    """The reference work: one passage a place and thing; the last `held_out` places are for queries
    in other words.

    >>> library = make_library()
    >>> len(library.passages), len(library.train), len(library.queries)
    (288, 192, 96)
    """
    rng = random.Random(seed)
    made = {
        (place, thing): rng.choice(_PASSAGES).format(
            thing=thing,
            place=place,
            year=rng.randint(1820, 1960),
            stuff=rng.choice(_STUFFS),
            keeper=rng.choice(_KEEPERS),
        )
        for place in PLACES
        for thing in THINGS
    }
    rest = set(PLACES[-held_out:])
    queries = [
        (rng.choice(_HELD_OUT).format(plain=THINGS[thing], place=place), text)
        for (place, thing), text in made.items()
        if place in rest
    ]
    return Library(
        tuple(made.values()),
        tuple(text for (place, _), text in made.items() if place not in rest),
        tuple(queries),
    )


def is_about(prompt: str) -> bool:
    """Whether a prompt is about a passage of the library."""
    passage = _FENCED.search(prompt)
    about = passage["passage"] if passage else ""
    return bool(_THING.search(about) and _PLACE.search(about))


def reply(
    prompt: str,
    rng: random.Random,
    *,
    slip: float,
    miss: float,
    false_alarm: float,
) -> str | None:
    """What the teacher says to a prompt of the retrieval packs about a passage of the library; None
    for any other prompt.

    Args:
        prompt: the last message.
        rng: of the request.
        slip: chance of a query about another thing than the passage's.
        miss: chance that a passage that does not answer is taken to answer.
        false_alarm: the other way round.
    """
    passage = _FENCED.search(prompt)
    thing, place = (
        pattern.search(passage["passage"]) if passage else None
        for pattern in (_THING, _PLACE)
    )
    if not passage or not thing or not place:
        return None
    query = _QUERY.search(prompt)
    if query is None:
        named = rng.choice(list(THINGS)) if rng.random() < slip else thing[0]
        text = rng.choice(_ASKED).format(plain=THINGS[named], place=place[0])
        return (
            f"<task>find the passage that answers</task><query>{text}</query>"
        )
    plain = _PLAIN.search(query["query"])
    wanted = _PLACE.search(query["query"])
    same = (
        bool(plain) and plain is not None and plain[0] == THINGS[thing[0]],
        bool(wanted) and wanted is not None and wanted[0] == place[0],
    )
    answers = all(same) ^ (rng.random() < (false_alarm if all(same) else miss))
    if "<answers>" in prompt:
        return f"<answers>{'yes' if answers else 'no'}</answers>"
    grade = 4 if any(same) else 1
    if answers:
        grade = 9
    return json.dumps(
        {
            "would_ask" if "would_ask" in prompt else "answers": max(
                0, grade + rng.choice((-1, 0, 0, 1))
            )
        }
    )
