"""Shared words of an answer and its gold, as extractive question answering counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.measures.base import Measure, against_golds
from synth.core.records import Row
from synth.text.words import words

_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, kw_only=True)
class TokenF1(Measure):
    """Harmonic mean of precision and recall of words, case and articles aside; against the best of
    several golds (SQuAD, arXiv:1606.05250, section 6).

    Example:
        >>> TokenF1().of_question([{"answer": "the red pen", "target": "A red pen !"}])
        1.0
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(against_golds(row, f1) for row in draws)


def f1(answer: str, gold: str) -> float:
    """The measure of one answer; 1 where neither has a word."""
    one = _counted(answer)
    two = _counted(gold)
    if not one or not two:
        return float(one == two)
    shared = (one & two).total()
    return 2 * shared / (one.total() + two.total())


def _counted(text: str) -> Counter[str]:
    return Counter(
        word for word in words(text.casefold()) if word not in _ARTICLES
    )
