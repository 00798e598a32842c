"""A rationale that ends in one of the seed's choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, ClassVar

from synth.answers.choices import choices_of, pick
from synth.errors import Unreadable
from synth.parsers.base import Parser, cut_invented
from synth.parsers.final_number import ANNOUNCED, END, LAST_MARKERS, announced, before_marker
from synth.records import Row

_MARKER = re.compile(ANNOUNCED, re.IGNORECASE | re.MULTILINE)
_MARKER_OR_BOX = re.compile(rf"{ANNOUNCED}|\\boxed\s*\{{", re.IGNORECASE | re.MULTILINE)


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
        found = choices_of(row.get("choices"))
        choices = found.texts if found else []
        markers = list((_MARKER_OR_BOX if "\\boxed" in text else _MARKER).finditer(text, max(0, len(text) - END)))
        if not markers:
            raise Unreadable("no_answer_marker", text[-80:])
        for marker in markers[: -LAST_MARKERS - 1 : -1]:
            position = pick(announced(text, marker), choices)
            if position is not None:
                rationale = before_marker(text[: marker.start()])
                return {"rationale": rationale, "answer": choices[position], "letter": ascii_lowercase[position % 26]}
        raise Unreadable("no_option", text[markers[-1].start() :][:80])
