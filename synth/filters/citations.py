"""Keeps rows that quote and cite what is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Fields, Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.text.words import count
from synth.verifiers.spans import Spans

_CITED = re.compile(r"\[(\d{1,3}(?:\s*[,;-]\s*\d{1,3})*)\]")
_QUOTED = re.compile(r"[\"“„«「『]([^\"“”„«»「」『』]{1,2000})[\"”»」』]")
MOST_CITED = 1000


@dataclass(frozen=True, kw_only=True)
class Citations(RowFilter):
    """Each quotation must stand in the sources, each `[n]` must name one of them.

    Sees: one row. Costs: nothing.

    Args:
        field: the field with the text; the raw reply where a row lacks it.
        sources: the field with the source text, or a list of them ([1] is the first).
        quotes: the field with a list of quotations; None takes what stands between quotation marks
            in the text.
        words: shorter quotations between quotation marks are names and words, not looked for.
        least: fewest quotations and citations together.

    Reasons:
        not_in_source: a quotation stands in no source.
        no_such_source: a citation names none.
        too_few: fewer quotations and citations than `least`.
        no_source: the row has none (unknown).

    Marks: `quotes`, `cited` (how many), `missing` (the first that is not there).

    Example:
        >>> row = {
        ...     "sources": ["Rain fell on the old town."],
        ...     "reply": 'It says "rain fell on the old town" [1].',
        ... }
        >>> Citations().judge(row).keep
        True
        >>> Citations().judge({**row, "reply": 'It says "snow fell on the old town" [1].'}).reason
        'not_in_source'
    """

    field: str = "text"
    sources: str = "sources"
    quotes: str | None = None
    words: int = 3
    least: int = 0

    reasons: ClassVar[dict[str, str]] = {
        "not_in_source": "a quotation stands in no source",
        "no_such_source": "a citation names none",
        "too_few": "too few",
        "no_source": "the row has none",
    }

    def needs(self) -> tuple[str, ...]:
        """The sources."""
        return (self.sources,)

    def verdict(self, row: Row) -> Verdict:
        passages = row.get(self.sources)
        if not passages:
            return Verdict(None, "no_source")
        sources = (
            [str(part) for part in passages]
            if isinstance(passages, (list, tuple))
            else [str(passages)]
        )
        text = field_text(row, self.field)
        quotes = self._quotes(row, text)
        cited = sorted(set(_numbers(text)))
        marks: Fields = {"quotes": len(quotes), "cited": len(cited)}
        missing = self._not_in(sources, quotes)
        if missing is not None:
            return Verdict(
                False, "not_in_source", {**marks, "missing": missing[:200]}
            )
        wrong = next((n for n in cited if not 1 <= n <= len(sources)), None)
        if wrong is not None:
            return Verdict(
                False, "no_such_source", {**marks, "missing": f"[{wrong}]"}
            )
        few = len(quotes) + len(cited) < self.least
        return Verdict(not few, "too_few" if few else "", marks)

    def _not_in(self, sources: list[str], quotes: list[str]) -> str | None:
        """The first quotation that stands in no source."""
        spans = Spans()
        for quote in quotes:
            if not any(spans.verify(quote, source) for source in sources):
                return quote
        return None

    def _quotes(self, row: Row, text: str) -> list[str]:
        if self.quotes is not None:
            listed = row.get(self.quotes) or []
            return [
                str(q)
                for q in ([listed] if isinstance(listed, str) else listed)
            ]
        return [q for q in _QUOTED.findall(text) if count(q) >= self.words]


def _numbers(text: str) -> Iterable[int]:
    for group in _CITED.findall(text)[:MOST_CITED]:
        for part in re.split(r"\s*[,;]\s*", group):
            first, _, last = part.partition("-")
            yield from range(
                int(first), min(int(last or first), int(first) + 100) + 1
            )
