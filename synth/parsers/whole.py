"""A reply as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser, cut_invented
from synth.records import Row
from synth.text.words import count


@dataclass(frozen=True, kw_only=True)
class Whole(Parser):
    r"""Reads the whole reply as one text field, questions that the teacher invented behind it cut off.

    Args:
        least: fewer words are unreadable.

    Reasons:
        too_few_words: fewer words than `least`.

    Example:
        >>> Whole(into="reasoning").parse(" 3 + 4 = 7.\n\nQ: And 5?\nA: 12", {})
        {'reasoning': '3 + 4 = 7.'}
    """

    least: int = 1

    main: ClassVar[str] = "text"
    fields: ClassVar[dict[str, str]] = {"text": "text"}
    reasons: ClassVar[dict[str, str]] = {"too_few_words": "too few words"}

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """The text."""
        text = cut_invented(text).strip()
        if count(text) < self.least:
            raise Unreadable("too_few_words", text[:80])
        return {"text": text}
