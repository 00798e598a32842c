"""Words that are found in a text, each with its kind: terms and definitions, words and their
senses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, reply_of
from synth.core.records import Row
from synth.text.words import words

_TAGGED = re.compile(r"<(?P<kind>\w+)>(?P<text>.*?)</(?P=kind)>", re.DOTALL)
_NOTHING = ("", "none", "nothing")


class Span(NamedTuple):
    """Words that were found.

    Attributes:
        kind: the name of a tag, a sense; "" where none is said.
        text: the words, in small letters.
    """

    kind: str
    text: str


Found = Counter[Span]


@dataclass(frozen=True, kw_only=True)
class Spans(Measure):
    r"""Precision, recall and F1 of spans with their kinds.

    A span is written `<kind>text</kind>`, or `text = kind` on a line of its own; a line without
    either is a span without a kind, and `none` is no span. The value is the mean F1 of a question,
    1 where nothing was to be found and nothing was. Case and signs play no part in the text, and a
    span that stands twice counts twice.

    Example:
        >>> row = {"target": "bank = bank.1", "reply": "bank = bank.2\nboat = boat.1"}
        >>> Spans().of_question([row]), Spans().more([row])["word_f1"]
        (0.0, 0.0)
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(_question(row) for row in draws)

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """`precision`, `recall` and `f1` over all spans, those of each kind (`classes`), and the F1
        of single words of spans of the same kind (`word_f1`).
        """
        said: Found = Counter()
        wanted: Found = Counter()
        shared: Found = Counter()
        shared_words = 0
        for row in predictions:
            answer, gold = _sides(row)
            said += answer
            wanted += gold
            shared += answer & gold
            common = _words(answer) & _words(gold)
            shared_words += common.total()
        words_of_both = _words(said) + _words(wanted)
        all_words = words_of_both.total()
        named = {span.kind for span in said + wanted}
        kinds = sorted(named - {""})
        report = {}
        for kind in kinds:
            counts = [_count(found, kind) for found in (shared, said, wanted)]
            report[kind] = scores(*counts)
        totals = [found.total() for found in (shared, said, wanted)]
        return {
            **scores(*totals),
            "word_f1": round(2 * shared_words / max(1, all_words), 4),
            "classes": report,
        }


def spans_of(value: object) -> Found:
    """The spans of a text.

    >>> spans_of("<term>Light</term>: <definition>what we see by</definition>")
    Counter({Span(kind='term', text='light'): 1, Span(kind='definition', text='what we see by'): 1})
    """
    text = str(value)
    tagged = list(_TAGGED.finditer(text))
    if tagged:
        return Counter(_span(one["text"], one["kind"]) for one in tagged)
    found: Found = Counter()
    for line in text.splitlines():
        said, _, kind = line.rpartition(" = ")
        if not said:
            said = line
            kind = ""
        span = _span(said, kind)
        if span.text not in _NOTHING:
            found[span] += 1
    return found


def _span(text: str, kind: str) -> Span:
    return Span(kind.strip(), " ".join(words(text.casefold())))


def _sides(row: Row) -> tuple[Found, Found]:
    """What was said and what was wanted."""
    return spans_of(reply_of(row)), spans_of(row.get("target"))


def _question(row: Row) -> float:
    answer, gold = _sides(row)
    if not answer and not gold:
        return 1.0
    shared = answer & gold
    return 2 * shared.total() / (answer.total() + gold.total())


def _words(spans: Found) -> Counter[Span]:
    """The words of spans, each with the kind of its span."""
    found: Counter[Span] = Counter()
    for span, count in spans.items():
        for word in span.text.split():
            found[Span(span.kind, word)] += count
    return found


def _count(spans: Mapping[Span, int], kind: str) -> int:
    return sum(count for span, count in spans.items() if span.kind == kind)


def scores(shared: int, said: int, wanted: int) -> dict[str, float]:
    """Precision, recall and F1; all 0 where there is nothing to divide by.

    Args:
        shared: right ones.
        said: all that were found.
        wanted: all that there are.
    """
    return {
        "precision": round(shared / max(1, said), 4),
        "recall": round(shared / max(1, wanted), 4),
        "f1": round(2 * shared / max(1, said + wanted), 4),
        "support": wanted,
    }
