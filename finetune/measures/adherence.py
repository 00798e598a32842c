"""Whether a text says what is highlighted, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, NamedTuple

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, reply_of
from synth.core.records import Row
from synth.local_models.scores import entailment
from synth.text.sentences import sentences
from synth.text.words import common, words


class Both(NamedTuple):
    """Shares from 0 to 1: of what is said that is highlighted, and of the highlights that are
    said.
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, kw_only=True)
class Adherence(Measure):
    """Harmonic mean of how much of a reply is highlighted (nothing is added) and how much of the
    highlights it says (nothing is missed); a row brings them as a list `highlights` (Don't Add,
    Don't Miss, arXiv:2310.09017).

    Both are shares of words in the order in which they stand (the longest common subsequence with
    all highlights one behind the other); with `nli` shares of sentences that follow: of the reply's
    from the highlights, and of the highlights from the reply.

    Args:
        nli: a natural language inference model; None for words.
        least: least probability of entailment that counts as following, 0 to 1.

    Example:
        >>> row = {"highlights": ["Rain fell", "all night"], "reply": "Rain fell all day ."}
        >>> Adherence().of_question([row])
        0.75
    """

    nli: str | None = None
    least: float = 0.5
    needs_gold: ClassVar[bool] = False

    def of_question(self, draws: Sequence[Row]) -> float | None:
        found = [self._both(row) for row in draws if row.get("highlights")]
        return fmean(both.f1 for both in found) if found else None

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """`added`: the mean share of replies that is not highlighted; `missed`: that of highlights
        which are not said.
        """
        rows = [row for row in predictions if row.get("highlights")]
        if not rows:
            return {}
        found = [self._both(row) for row in rows]
        return {
            "added": round(1 - fmean(both.precision for both in found), 4),
            "missed": round(1 - fmean(both.recall for both in found), 4),
        }

    def _both(self, row: Row) -> Both:
        highlights = list(map(str, row["highlights"]))
        if self.nli is None:
            return _of_words(reply_of(row), " ".join(highlights))
        return self._of_sentences(reply_of(row), highlights)

    def _of_sentences(self, reply: str, highlights: Sequence[str]) -> Both:
        said = sentences(reply)
        if not said:
            return Both(0.0, 0.0)
        known = " ".join(highlights)
        pairs = [(known, one) for one in said]
        pairs += [(reply, one) for one in highlights]
        chances = entailment(pairs, str(self.nli))
        follows = [chance >= self.least for chance, _ in chances]
        count = len(said)
        return Both(fmean(follows[:count]), fmean(follows[count:]))


def _of_words(reply: str, highlights: str) -> Both:
    """By the longest common subsequence."""
    said = words(reply)
    known = words(highlights)
    if not said or not known:
        return Both(0.0, 0.0)
    shared = common(said, known)
    return Both(shared / len(said), shared / len(known))
