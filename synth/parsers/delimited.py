"""Spans between two marks, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, between

_LEAD = lazy_pattern(r"\A\s*[^\n]{1,200}:[*_]{0,3}[^\S\n]*\n")
_ITEM = lazy_pattern(
    r"^[^\S\n]*+(?:\(?\d{1,3}[.):]|[-*+\u2022])[^\S\n]*+$", re.MULTILINE
)
_SIGNS = lazy_pattern(r"[\s,;\"'>*\u201c\u201d]+|```\w{0,10}")


@dataclass(frozen=True, kw_only=True)
class Delimited(Parser):
    """Reads every span between `begin` and `end`; outside of them only little may stand.

    | outside of the spans | |
    |---|---|
    | white space, commas, quotation marks, a fence, the marks of a list (`1.`, `-`) | passed over |
    | before the first span: a line that ends in a colon ("Here are the passages:") | passed over |
    | any other word | `text_outside`: spans are all that was asked for |

    Args:
        begin: the mark before a span.
        end: the mark behind it.

    Reasons:
        no_span: no span, or an empty one.
        text_outside: something stands outside the spans.

    Example:
        >>> Delimited(into="quotes").parse("##begin_quote## Rain fell. ##end_quote##", {})
        {'quotes': ['Rain fell.']}
    """

    begin: str = "##begin_quote##"
    end: str = "##end_quote##"

    main: ClassVar[str] = "spans"
    fields: ClassVar[dict[str, str]] = {"spans": "list"}
    reasons: ClassVar[dict[str, str]] = {
        "no_span": "no span",
        "text_outside": "text outside the spans",
    }

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        begin = re.compile(re.escape(self.begin))
        end = re.compile(re.escape(self.end))
        places = between(begin, end, text)
        spans = [text[first:last].strip() for first, last in places]
        if not spans or not all(spans):
            raise Unreadable("no_span", text[-80:])
        outside = []
        start = 0
        for first, last in places:
            outside.append(text[start : first - len(self.begin)])
            start = last + len(self.end)
        outside.append(text[start:])
        # A line that announces the spans stands before the first one alone.
        outside[0] = _LEAD.sub("", outside[0])
        rest = "".join(map(_words_in, outside))
        if rest:
            raise Unreadable("text_outside", rest[:80])
        return {"spans": spans}


def _words_in(part: str) -> str:
    """A text between spans without the marks of a list, commas and quotation marks."""
    return _SIGNS.sub("", _ITEM.sub("", part))
