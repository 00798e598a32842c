"""A reply as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.replies.lists import items_in, plain
from synth.text.words import count


def _spaced(mark: str) -> str:
    """A mark as a pattern that allows a blank between its words and signs."""
    parts = re.findall(r"\w+|[^\w\s]", mark)
    return r"\s?".join(map(re.escape, parts))


@dataclass(frozen=True, kw_only=True)
class Whole(Parser):
    r"""Reads the whole reply as one text field.

    | reply | read |
    |---|---|
    | any text | as it is, without white space at its ends |
    | with `turns: ["Q:"]`: from a line with `Q:`, `q :` or `**Q:**` on | cut off |
    | with `unmarked`: `21. a`, `- a`, `**a**`, `"a"` on one line | a |

    Args:
        least: fewer words are unreadable.
        turns: what begins a turn that a teacher invents behind its answer, such as the next
            question of its few-shot prompt.
        unmarked: whether the reply is one item of a list, whose mark and decoration are left out.

    Reasons:
        too_few_words: fewer words than `least`.

    Example:
        >>> Whole(into="reasoning", turns=("Q:",)).parse(" 3 + 4 = 7.\n\nQ: And 5?\nA: 12", {})
        {'reasoning': '3 + 4 = 7.'}
    """

    least: int = 1
    turns: tuple[str, ...] = ()
    unmarked: bool = False

    main: ClassVar[str] = "text"
    fields: ClassVar[dict[str, str]] = {"text": "text"}
    reasons: ClassVar[dict[str, str]] = {"too_few_words": "too few words"}

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        text = text.strip()
        if self.turns and (turn := self._turn.search(text)):
            text = text[: turn.start()].rstrip()
        if self.unmarked and "\n" not in text:
            text = next(iter(items_in(text)), plain(text))
        if count(text) < self.least:
            raise Unreadable("too_few_words", text[:80])
        return {"text": text}

    @cached_property
    def _turn(self) -> re.Pattern[str]:
        """A line, not the first, that begins with one of the marks."""
        marks = "|".join(map(_spaced, self.turns))
        return re.compile(
            rf"\n[^\S\n]*+[*_#]{{0,3}}\s?(?:{marks})", re.IGNORECASE
        )
