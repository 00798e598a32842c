"""Spans between two marks, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser, between
from synth.records import Row


@dataclass(frozen=True, kw_only=True)
class Delimited(Parser):
    """Reads every span between `begin` and `end`; outside of them only white space may stand.

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
    reasons: ClassVar[dict[str, str]] = {"no_span": "no span", "text_outside": "text outside the spans"}

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """The spans."""
        begin, end = re.compile(re.escape(self.begin)), re.compile(re.escape(self.end))
        places = between(begin, end, text)
        spans = [text[slice(*place)].strip() for place in places]
        if not spans or not all(spans):
            raise Unreadable("no_span", text[-80:])
        starts = [0, *(stop + len(self.end) for _, stop in places)]
        stops = [*(start - len(self.begin) for start, _ in places), len(text)]
        outside = "".join(text[start:stop] for start, stop in zip(starts, stops, strict=True))
        if rest := outside.strip():
            raise Unreadable("text_outside", rest[:80])
        return {"spans": spans}
