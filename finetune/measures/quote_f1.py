"""Quoted spans held against the spans that should be quoted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.measures.base import Measure, reply_of
from finetune.measures.token_f1 import f1
from synth.core.records import Row

_TAGGED = re.compile(
    r"<(quote|q|s)>(?P<tagged>.*?)</\1>|##begin_quote##(?P<marked>.*?)##end_quote##",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class QuoteF1(Measure):
    """Words of all quotes of a reply against those of the gold's, and how many quotes stand in the
    text that was asked about (LLMQuoter, arXiv:2501.05554, section 4).

    Quotes stand between <quote>, <q> or <s> tags, or between the marks of the pack `quotes`
    (##begin_quote##, ##end_quote##); a text without them is one quote.

    Example:
        >>> QuoteF1().of_question([{"reply": "<quote>a red pen</quote>", "target": "red pen"}])
        1.0
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(
            f1(
                " ".join(quotes(reply_of(row))),
                " ".join(quotes(row.get("target"))),
            )
            for row in draws
        )

    def more(self, predictions: Sequence[Row]) -> dict[str, float | int]:
        """`verbatim`: the share of all quotes that stand in their prompt, white space aside."""
        counts: Counter[bool] = Counter()
        for row in predictions:
            prompt = " ".join(str(row.get("prompt")).split())
            for quote in quotes(reply_of(row)):
                counts[" ".join(quote.split()) in prompt] += 1
        total = counts.total()
        share = counts[True] / total if total else 0.0
        return {"quotes": total, "verbatim": round(share, 4)}


def quotes(value: object) -> list[str]:
    """The quoted spans of a text, or of a list of them, without those that are empty."""
    if isinstance(value, list):
        spans = list(map(str, value))
    else:
        text = str(value)
        found = _TAGGED.finditer(text)
        tagged = [match["tagged"] or match["marked"] or "" for match in found]
        spans = tagged or [text]
    return [span for span in spans if span.strip()]
