"""Drops rows whose text gives away what the student will not see: a hint, a context, a rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.text.words import folded, runs, words


@cache
def _small(phrases: tuple[str, ...]) -> tuple[str, ...]:
    """Phrases in the form in which they are looked for."""
    return tuple(map(folded, phrases))


@dataclass(frozen=True, kw_only=True)
class Leaks(RowFilter):
    """Phrases that speak of the hint, and runs of words shared with a hidden text.

    A rationale that was written with the answer or a context in sight must read as if it had been
    written without.

    Sees: one row. Costs: nothing.

    Args:
        field: the text that the student learns; the row's raw reply where it lacks the field.
        hidden: the field with the text that the student will not see, a list of texts too; None for
            phrases alone.
        words: so many words in a row that both texts share are a leak.
        phrases: what gives a hint away, in small letters.

    Reasons:
        leak: a phrase or a run of words gives it away.

    Marks: `leak` (the words).

    Example:
        >>> texts = ("As the hint says, it is 4.", "2 + 2 = 4, so it is 4.")
        >>> [Leaks().judge({"rationale": text}).keep for text in texts]
        [False, True]
    """

    field: str = "rationale"
    hidden: str | None = None
    words: int = 8
    phrases: tuple[str, ...] = (
        "the hint",
        "given answer",
        "provided answer",
        "the correct answer is given",
        "answer provided",
        "as stated in the answer",
        "we are told the answer",
        "the answer is given",
        "given that the answer",
        "known answer",
        "the reference answer",
        "since the answer is",
        "the given solution",
    )

    reasons: ClassVar[dict[str, str]] = {
        "leak": "it gives away what the student will not see"
    }

    def needs(self) -> tuple[str, ...]:
        """The hidden text."""
        return (self.hidden,) if self.hidden else ()

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)
        small = folded(text)
        leak = next(
            (p for p in _small(tuple(self.phrases)) if p in small), None
        ) or self._shared(text, row)
        return Verdict(False, "leak", {"leak": leak}) if leak else Verdict(True)

    def _shared(self, text: str, row: Row) -> str:
        hidden = row.get(self.hidden) if self.hidden else None
        if not hidden:
            return ""
        texts = hidden if isinstance(hidden, (list, tuple)) else [hidden]
        source_grams = {
            gram
            for other in texts
            for gram in runs(words(str(other)), self.words)
        }
        return next(
            (
                " ".join(gram)
                for gram in runs(words(text), self.words)
                if gram in source_grams
            ),
            "",
        )
