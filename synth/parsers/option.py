"""A rationale that ends in one of the seed's choices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase
from typing import ClassVar

from synth.answers.choices import choices_of, pick
from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, cut_invented
from synth.parsers.final_number import (
    ANNOUNCED,
    END,
    LAST_MARKERS,
    announced,
    before_marker,
)

_MARKER = lazy_pattern(ANNOUNCED, re.IGNORECASE | re.MULTILINE)
_MARKER_OR_BOX = lazy_pattern(
    rf"{ANNOUNCED}|\\boxed\s*\{{", re.IGNORECASE | re.MULTILINE
)

_MOST_LINE = 300
_BARE = lazy_pattern(
    r"[*_`$\[({<\s]{0,6}(?:(?:option|choice)\s)?[*_`(\[]{0,4}([a-z])(?:[*_`)\].}$>\s]{0,6}"
    r"|[*_`]{0,2}[).:\]][*_`]{0,2}\s+(\S.*?)[*_`]{0,2})",
    re.IGNORECASE,
)

# Before an answer where a small model wrote another number of them than four.
_HASHES = "# \t"
_AROUND = " \t*_`\"'.!\u201c\u201d"
# "Sentiment: positive", "**Final color**: red"; no sentence before a colon.
_TITLE = lazy_pattern(r"[^\W\d_]+(?: [^\W\d_]+){0,2}[*_`]{0,2}:[*_`]{0,2}\s+")


@dataclass(frozen=True, kw_only=True)
class Option(Parser):
    r"""Reads `rationale`, `answer` (the choice's text) and `letter` of a multiple-choice reply.

    The seed's `choices` are lettered (a), (b), ... in order. Where a reply names a letter and a
    text that disagree, the text decides when it is one of the choices; where it is not, the letter
    does.

    | spelling | option |
    |---|---|
    | `#### (b) ice`, `The correct answer is B.`, `**Answer:** [B]`, `$\boxed{\text{B}}$` | b |
    | without an announced answer, a last line `(b)`, `**B**`, `[B]`, `Option B`, `B) ice` | b |
    | `# (b)`, `### # (b) ice`: any hash signs before these | b |
    | then also a last line that is a choice, `Ice.`, or a title and a choice, `Color: ice` | b |
    | a last line of other words | no_answer_marker |

    Reasons:
        no_answer_marker: nothing announces an answer.
        no_option: an answer is announced and names none of the choices.

    Example:
        >>> Option().parse(
        ...     "Trains stop there. So the answer is (b) station.", {"choices": ["park", "station"]}
        ... )
        {'rationale': 'Trains stop there.', 'answer': 'station', 'letter': 'b'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {
        "rationale": "text",
        "answer": "text",
        "letter": "text",
    }
    reads: ClassVar[tuple[str, ...]] = ("choices",)
    reasons: ClassVar[dict[str, str]] = {
        "no_answer_marker": "no answer is announced",
        "no_option": "none of the choices",
    }

    def read(self, text: str, row: Row) -> Fields:
        text = cut_invented(text)
        row_choices = choices_of(row.get("choices"))
        choices = row_choices.texts if row_choices else []
        markers = list(
            (_MARKER_OR_BOX if "\\boxed" in text else _MARKER).finditer(
                text, max(0, len(text) - END)
            )
        )
        if not markers:
            return self._last_line(text, choices)
        for marker in markers[: -LAST_MARKERS - 1 : -1]:
            answer = announced(text, marker)
            position = pick(answer, choices)
            if position is None:
                position = _named(answer, choices)
            if position is not None:
                rationale = before_marker(text[: marker.start()])
                return {
                    "rationale": rationale,
                    "answer": choices[position],
                    "letter": ascii_lowercase[position % 26],
                }
        raise Unreadable("no_option", text[markers[-1].start() :][:80])

    @staticmethod
    def _last_line(text: str, choices: list[str]) -> Fields:
        """The option that is all of the last line: `(b)`, `**B**`, `[B]`, `Option B`, `B) text`,
        `text`, `Color: text`.
        """
        rationale, _, line = text.strip().rpartition("\n")
        line = line.lstrip(_HASHES)
        named = _named(line, choices)
        if named is not None:
            return {
                "rationale": before_marker(rationale),
                "answer": choices[named],
                "letter": ascii_lowercase[named % 26],
            }
        bare = (
            _BARE.fullmatch(line.strip()) if len(line) <= _MOST_LINE else None
        )
        position = (
            ascii_lowercase.index(bare[1].lower()) if bare else len(choices)
        )
        if (
            bare is None
            or position >= len(choices)
            or (bare[2] and pick(bare[2], [choices[position]]) is None)
        ):
            raise Unreadable("no_answer_marker", text[-80:])
        return {
            "rationale": before_marker(rationale),
            "answer": choices[position],
            "letter": bare[1].lower(),
        }


def _named(line: str, choices: list[str]) -> int | None:
    """Position of the one choice whose text is all of a line, or all behind a title."""
    if len(line) > _MOST_LINE:
        return None
    text = _TITLE.sub("", line.strip(_AROUND)).strip(_AROUND).casefold()
    positions = [
        position
        for position, choice in enumerate(choices)
        if choice.strip(_AROUND).casefold() == text
    ]
    return positions[0] if text and len(positions) == 1 else None
