"""Keeps rows whose two texts share neither too little nor too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.errors import require_share
from synth.core.records import Row, Verdict
from synth.filters.base import RowFilter
from synth.text.words import rouge_1, rouge_l


@dataclass(frozen=True, kw_only=True)
class Overlap(RowFilter):
    """ROUGE between two fields, or between two fields of every element of a list: the lowest and
    the highest count.

    A rewriting that must not drift has a `least` (Distill-SynthKG, arXiv:2410.16597, has ROUGE-1 of
    .70), a paraphrase that must not copy a `most`.

    Sees: one row. Costs: time in proportion to the product of the lengths for `rouge_l`.

    Args:
        field: the first text.
        other: the second one.
        each: a list field whose elements have both fields; None for the row's own.
        measure: rouge_1 or rouge_l, F measures over words.
        least: lowest that is kept, 0 to 1.
        most: highest that is kept.

    Reasons:
        too_unlike: below `least`.
        too_alike: above `most`.
        no_text: a field is missing or empty (unknown).

    Marks: `lowest`, `highest`.

    Example:
        >>> Overlap(field="new", other="old", least=0.7).judge(
        ...     {"new": "a b c", "old": "a b d"}
        ... ).reason
        'too_unlike'
    """

    field: str
    other: str
    each: str | None = None
    measure: Literal["rouge_1", "rouge_l"] = "rouge_1"
    least: float = 0.0
    most: float = 1.0

    reasons: ClassVar[dict[str, str]] = {
        "too_unlike": "below least",
        "too_alike": "above most",
        "no_text": "a text is missing",
    }

    def __post_init__(self) -> None:
        require_share("least", self.least)
        require_share("most", self.most)

    def needs(self) -> tuple[str, ...]:
        """The texts, or the list of them."""
        return (self.each,) if self.each else (self.field, self.other)

    def verdict(self, row: Row) -> Verdict:
        measure = {"rouge_1": rouge_1, "rouge_l": rouge_l}[self.measure]
        listed = row.get(self.each) if self.each else [row]
        pairs = [
            (element.get(self.field), element.get(self.other))
            if isinstance(element, Mapping)
            else (None, None)
            for element in listed or ()
        ]
        if not pairs or not all(one and two for one, two in pairs):
            return Verdict(None, "no_text")
        shares = [measure(str(one), str(two)) for one, two in pairs]
        marks = {
            "lowest": round(min(shares), 4),
            "highest": round(max(shares), 4),
        }
        if min(shares) < self.least:
            return Verdict(False, "too_unlike", marks)
        return Verdict(
            max(shares) <= self.most,
            "" if max(shares) <= self.most else "too_alike",
            marks,
        )
