"""A rationale that ends in one of the seed's choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser, cut_invented
from synth.parsers.final_number import ANNOUNCED, END, LAST_MARKERS, NEAR, before_marker
from synth.records import Row
from synth.verifiers.math_equal import canonical

_MARKER = re.compile(ANNOUNCED, re.IGNORECASE | re.MULTILINE)
_LETTER = re.compile(r"^\s*\**\s*(?:option\s+)?(?:\(([a-z])\)|([a-z])(?=[).:,*]|$))\**[).:,]?\s*(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Option(Parser):
    """Reads `rationale`, `answer` (the choice's text) and `letter` of a multiple-choice reply.

    The seed's `choices` are lettered (a), (b), ... in order. Where a reply names a letter and a text that
    disagree, the text decides when it is one of the choices; where it is not, the letter does.

    Reasons:
        no_answer_marker: nothing announces an answer.
        no_option: an answer is announced and names none of the choices.

    Example:
        >>> Option().parse("Trains stop there. So the answer is (b) station.", {"choices": ["park", "station"]})
        {'rationale': 'Trains stop there.', 'answer': 'station', 'letter': 'b'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"rationale": "text", "answer": "text", "letter": "text"}
    reads: ClassVar[tuple[str, ...]] = ("choices",)
    reasons: ClassVar[dict[str, str]] = {
        "no_answer_marker": "no answer is announced",
        "no_option": "none of the choices",
    }

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """Fields of one reply."""
        text = cut_invented(text)
        choices = [str(c) for c in row.get("choices") or ()]
        markers = list(_MARKER.finditer(text, max(0, len(text) - END)))
        if not markers:
            raise Unreadable("no_answer_marker", text[-80:])
        for marker in markers[: -LAST_MARKERS - 1 : -1]:
            position = pick(text[marker.end() : marker.end() + NEAR], choices)
            if position is not None:
                rationale = before_marker(text[: marker.start()])
                return {"rationale": rationale, "answer": choices[position], "letter": ascii_lowercase[position % 26]}
        raise Unreadable("no_option", text[markers[-1].start() :][:80])


def pick(text: str, choices: list[str]) -> int | None:
    """Position of the choice that a text names, or None.

    >>> pick(" (b) hot dog.", ["cat", "hot dog"]), pick(" the cat.", ["cat", "hot dog"]), pick("(e)", ["cat"])
    (1, 0, None)
    """
    line = text.strip().split("\n", 1)[0]
    letter = _LETTER.match(line)
    names = [canonical(c) for c in choices]
    said = canonical(letter.group(3) if letter else line)
    said = said.removeprefix("the ") if said not in names else said
    lettered = ascii_lowercase.index((letter.group(1) or letter.group(2)).lower()) if letter else None
    if said in names:
        twins = [i for i, name in enumerate(names) if name == said]
        return lettered if lettered in twins else twins[0]
    if lettered is not None and lettered < len(choices):
        return lettered
    whole = canonical(line).removeprefix("the ")
    return names.index(whole) if whole in names else None
