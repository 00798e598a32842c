"""Keeps rows whose text says what another text says, in other words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.filters.near_duplicate import numbers_of
from synth.text.words import rouge_l
from synth.verifiers.entailment import Entailment


@dataclass(frozen=True, kw_only=True)
class PairRule:
    """What two texts must be to say the same.

    Args:
        shortest: least ratio of lengths in characters, text to other.
        longest: largest ratio.
        most_alike: largest ROUGE-L (F measure over words, 0 to 1).
        nli: a natural language inference model; None for none.
        least: least probability of entailment, in each direction asked for.
        mutual: whether the other text must follow from the text, too; false for summaries, which
            have a lower `longest`.
    """

    shortest: float = 0.8
    longest: float = 1.5
    most_alike: float = 0.75
    nli: str | None = None
    least: float = 0.75
    mutual: bool = True


@dataclass(frozen=True, kw_only=True)
class Paraphrase(PairRule, WorkFilter):
    """A pair of texts is a paraphrase where neither is much longer, both have the same numbers,
    they share few words in a row, and each entails the other; with `mutual` false it is a summary:
    the text follows from the other one, whose numbers are all that it may have (Impossible
    Distillation, arXiv:2305.16635).

    Sees: one row. Costs: nothing without `nli`; with one a pass of the model a direction.

    Args:
        field: the text; the raw reply where a row lacks it.
        other: the field with the text that it should say again.

    Reasons:
        too_short: below `shortest`.
        too_long: above `longest`.
        other_numbers: other numbers than the other text has.
        too_alike: above `most_alike`.
        not_entailed: less likely than `least`.
        no_text: the other text is missing or empty (unknown).

    Marks: `rouge_l`, and with `nli` `entailment`, that of the worse direction.

    Example:
        >>> pair = {"source": "It rained all day.", "answer": "Rain fell the whole day."}
        >>> Paraphrase().judge(pair).reason, Paraphrase(longest=1.1).judge(pair).reason
        ('', 'too_long')
    """

    field: str = "answer"
    other: str = "source"

    reasons: ClassVar[dict[str, str]] = {
        "too_short": "below shortest",
        "too_long": "above longest",
        "other_numbers": "other numbers than the other text",
        "too_alike": "above most_alike",
        "not_entailed": "less likely than asked for",
        "no_text": "a text is missing",
    }

    def needs(self) -> tuple[str, ...]:
        """The other text."""
        return (self.other,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, the model asked about many at once."""
        verdicts = []
        places = []
        pairs = []
        for place, row in enumerate(rows):
            other = str(row.get(self.other) or "")
            text = field_text(row, self.field)
            verdict = self._of_words(other, text)
            verdicts.append(verdict)
            if self.nli is not None and verdict.keep:
                places.append(place)
                pairs.append((other, text))
        shares = self._shares(pairs)
        for place, share in zip(places, shares, strict=True):
            marks = {
                **verdicts[place].marks,
                "entailment": round(share, 4),
            }
            reason = ""
            if share < self.least:
                reason = "not_entailed"
            verdicts[place] = Verdict(not reason, reason, marks)
        return verdicts

    def _of_words(self, other: str, text: str) -> Verdict:
        """The verdict without a model."""
        if not other:
            return Verdict(None, "no_text")
        ratio = len(text) / len(other)
        if ratio < self.shortest:
            return Verdict(False, "too_short")
        if ratio > self.longest:
            return Verdict(False, "too_long")
        said = Counter(numbers_of(text))
        known = Counter(numbers_of(other))
        # A summary may leave numbers out.
        if said - known or (self.mutual and known - said):
            return Verdict(False, "other_numbers")
        score = rouge_l(other, text)
        reason = ""
        if score > self.most_alike:
            reason = "too_alike"
        marks = {"rouge_l": round(score, 4)}
        return Verdict(not reason, reason, marks)

    def _shares(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The probability of entailment of each pair, in the worse direction."""
        if self.nli is None:
            return []
        asked = Entailment(model=self.nli)
        if self.mutual:
            asked = Entailment(model=self.nli, direction="both")
        return [yes for yes, _ in asked.shares(pairs)]
