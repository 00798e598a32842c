"""A reply as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, Reply
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
    | with `opening: line`: what the field `line` says, and then a | a; marked as mended |

    Args:
        least: fewer words are unreadable.
        turns: what begins a turn that a teacher invents behind its answer, such as the next
            question of its few-shot prompt.
        opening: a field of the row whose text a teacher may repeat before it goes on; "" for none.
        unmarked: whether the reply is one item of a list, whose mark and decoration are left out.

    Reasons:
        too_few_words: fewer words than `least`.

    Example:
        >>> Whole(into="reasoning", turns=("Q:",)).parse(" 3 + 4 = 7.\n\nQ: And 5?\nA: 12", {})
        {'reasoning': '3 + 4 = 7.'}
    """

    least: int = 1
    turns: tuple[str, ...] = ()
    opening: str = ""
    unmarked: bool = False

    main: ClassVar[str] = "text"
    fields: ClassVar[dict[str, str]] = {"text": "text"}
    reasons: ClassVar[dict[str, str]] = {"too_few_words": "too few words"}

    def needs(self) -> tuple[str, ...]:
        """The opening, where there is one."""
        return (self.opening,) if self.opening else ()

    def read_reply(self, reply: Reply, row: Row) -> Fields:
        """Without an opening that is repeated."""
        text = reply.said.strip()
        opening = str(row.get(self.opening, "")).strip()
        begins = text[: len(opening)]
        behind = text[len(opening) :]
        behind = behind.lstrip(" .\u2026_")
        repeated = begins.casefold() == opening.casefold()
        if opening and repeated and behind:
            reply.mended.append("the opening is repeated")
            text = behind
        return self.read(text, row)

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
