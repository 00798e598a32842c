"""The items of a numbered or bulleted list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.replies.lists import items_in

# What is behind an item's own name: "plants - living things", "plants: ...", "plants (living
# things)".
_GLOSS = lazy_pattern(
    r"\s+[-\u2013\u2014]+\s|\s*[:\uff1a](?=\s)|\s+\(|\s*\uff08|\s+[-\u2013\u2014:(]*$"
)


@dataclass(frozen=True, kw_only=True)
class NumberedList(Parser):
    r"""Reads one item a line, numbered or bulleted, as a list field; lines around them are passed
    over.

    `synth.replies.lists` says which marks, decorations and depths are read.

    Args:
        least: fewer items are unreadable.
        none: where a reply that says so is an empty list, the word that says it (such as `none`):
            alone, as the only item, or in "None needed.", "none, as the question is simple", "No
            parts are required."; "" for no such word.
        glosses: whether an item is kept with its gloss (`keep`), or cut before it (`cut`): `plants`
            of `**plants** - living things`, `plants: living things` and `plants (living things)`.

    Reasons:
        no_list: fewer items than `least`.

    Example:
        >>> NumberedList(into="subquestions").parse(
        ...     "First:\n1. How many in all?\n2) How many are left?", {}
        ... )
        {'subquestions': ['How many in all?', 'How many are left?']}
    """

    least: int = 1
    none: str = ""
    glosses: Literal["keep", "cut"] = "keep"

    main: ClassVar[str] = "items"
    fields: ClassVar[dict[str, str]] = {"items": "list"}
    reasons: ClassVar[dict[str, str]] = {"no_list": "too few items"}

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        items = items_in(text)
        # The word for "none" stands alone: as the one item, or as the whole reply.
        alone = "" if items else text.strip()
        if len(items) == 1:
            alone = items[0]
        if self.none and self._says_none.match(alone):
            return {"items": []}
        if self.glosses == "cut":
            items = [
                name
                for item in items
                if (name := _GLOSS.split(item, maxsplit=1)[0].strip(" .,;*"))
            ]
        if len(items) < self.least:
            raise Unreadable("no_list", text[-80:])
        return {"items": items}

    @cached_property
    def _says_none(self) -> re.Pattern[str]:
        word = re.escape(self.none)
        needed = r"(?:\s+(?:is|are))?(?:\s+(?:needed|required|necessary|applicable))?"
        return re.compile(
            rf"[*_\"'\s(\[]{{0,6}}(?:{word}{needed}\s*(?:$|[.,;:!)\]\"'*_\n\u2013\u2014-])"
            rf"|no\s[^\n.]{{1,40}}?\s(?:needed|required|necessary)\b)",
            re.IGNORECASE,
        )
