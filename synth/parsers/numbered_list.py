"""The items of a numbered or bulleted list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row

_ITEM = re.compile(r"^\s{0,6}(?:\d{1,3}[.):]|[-*\u2022]|(?:Q|Step)\s*\d{1,3}[.):])\s++(\S[^\n]*)$", re.MULTILINE)
MOST_ITEMS = 200


@dataclass(frozen=True, kw_only=True)
class NumberedList(Parser):
    r"""Reads one item a line, numbered or bulleted, as a list field; lines around them are passed over.

    Args:
        least: fewer items are unreadable.
        none: a reply that says this word alone (such as `none`) is an empty list; "" for no such word.

    Reasons:
        no_list: fewer items than `least`.

    Example:
        >>> NumberedList(into="subquestions").parse("First:\n1. How many in all?\n2) How many are left?", {})
        {'subquestions': ['How many in all?', 'How many are left?']}
    """

    least: int = 1
    none: str = ""

    main: ClassVar[str] = "items"
    fields: ClassVar[dict[str, str]] = {"items": "list"}
    reasons: ClassVar[dict[str, str]] = {"no_list": "too few items"}

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """The items."""
        if self.none and text.strip(" .!*\"'\n").casefold() == self.none.casefold():
            return {"items": []}
        items = [match[1].rstrip() for match in islice(_ITEM.finditer(text), MOST_ITEMS)]
        if len(items) < self.least:
            raise Unreadable("no_list", text[-80:])
        return {"items": items}
