"""Drops rows whose text gives away what the student will not see: a hint, a context, a rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.replies.lists import without_mark
from synth.text.words import folded, runs, words
from synth.verifiers.spans import Spans

# What is said only by somebody who knew the answer before the work was done, a pattern a line.
# "Result" and "solution" are words of the work itself ("the known result", "the solution is given
# by"), so they count in fewer places than "answer".
_SPEECHES = r"""
\bfor you alone\b
\banswer key\b
\b(?:the|a|this|your|our) hint\b
\b(?:the|this|that|our|your) KNOWN RIGHTanswer\b(?! (?:choice|option))
\bREACH (?:the|this) KNOWN RIGHTNOUN\b(?! (?:choice|option))
\b(?:we|i|you|us) HAVE TOLD (?:that )?(?:the|its|this|our) RIGHTNOUN\b
\banswer (?:(?:is|was|has been|we were|i was) )?(?:already )?SAID\b(?! BY)
\b(?:since|because|as|knowing|given) (?:that )?(?:the|our) RIGHTanswer VALUE
\b(?:we|i) (?:already )?(?:know|knew) (?:that )?the RIGHTanswer VALUE
\b(?:since|because|as) (?:we|i) (?:already )?know (?:that )?the RIGHTNOUN\b
\b(?:states?|says?|tells?(?: us)?) that the RIGHTanswer VALUE
\bback(?:wards?)? from the (?:KNOWN )?RIGHTanswer\b
\bas stated in the RIGHTanswer\b
\bthe correct (?:answer|choice) is given\b
"""
_PARTS = {
    "RIGHT": r"(?:final |correct |right |true )?",
    "NOUN": r"(?:answer|solution|result)",
    "KNOWN": r"(?:given|provided|known|supplied|stated|expected|reference|target|gold)",
    "TOLD": r"(?:told|given|informed|provided with|shown)",
    "HAVE": r"(?:are|were|was|am|have been|had been)(?: already)?",
    "REACH": r"(?:match|reach|confirm|justify|support|fit|agree with|arrive at|lead to)\w*",
    "SAID": r"(?:given|told|provided|supplied|known)",
    "BY": r"(?:by|in terms|as a|to the nearest|choice)",
    # A value behind "is": a number, a letter in brackets, a quotation.
    "VALUE": r"(?:is|was|=|:)\s*[*_`$]{0,3}(?:[-+$(\"']{0,2}\d|\([a-z]\)|[\"'\u201c])",
}


def _pattern(speeches: str) -> re.Pattern[str]:
    for name, part in _PARTS.items():
        speeches = speeches.replace(name, part)
    return re.compile("|".join(speeches.split("\n")[1:-1]))


_SPEECH = _pattern(_SPEECHES)
# A shorter answer stands in many texts that do not state it.
_LEAST_GOLD = 2
_IS = r"(?:[=:]|\b(?:is|are|was|equals?|answer))\s*[*_`$(\"']{0,3}"


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
        gold: the field with the answer that the text must not state; where it is one sign, only
            "= 4", "is 4" and the like state it.
        words: so many words in a row that both texts share are a leak.
        phrases: what gives it away, in small letters; None for what is said only by somebody who
            knew the answer before: "the given answer", "we were told that the answer is", "since
            the final answer is 60", "to match the known result", "the hint".

    Reasons:
        leak: a phrase, a run of words or the answer itself gives it away.

    Marks: `leak` (the words).

    Example:
        >>> texts = ("As the hint says, it is 4.", "2 + 2 = 4, so it is 4.")
        >>> [Leaks().judge({"rationale": text}).keep for text in texts]
        [False, True]
    """

    field: str = "rationale"
    hidden: str | None = None
    words: int = 8
    phrases: tuple[str, ...] | None = None
    gold: str | None = None

    reasons: ClassVar[dict[str, str]] = {
        "leak": "it gives away what the student will not see"
    }

    def needs(self) -> tuple[str, ...]:
        """The hidden text, and the answer."""
        return tuple(name for name in (self.hidden, self.gold) if name)

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)
        small = folded(text)
        leak = self._phrase(small) or self._shared(text, row)
        if not leak and self.gold and row.get(self.gold) is not None:
            leak = _stated(str(row[self.gold]), text)
        return Verdict(False, "leak", {"leak": leak}) if leak else Verdict(True)

    def _phrase(self, small: str) -> str:
        if self.phrases is None:
            speech = _SPEECH.search(small)
            return speech[0] if speech else ""
        phrases = _small(tuple(self.phrases))
        return next((phrase for phrase in phrases if phrase in small), "")

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


def _stated(gold: str, text: str) -> str:
    """The answer, if the text states it; numbers of lists state nothing."""
    body = "\n".join(without_mark(line) for line in text.splitlines())
    if len(gold.strip()) >= _LEAST_GOLD:
        return gold if Spans(ellipsis=False).verify(gold, body) else ""
    value = re.escape(folded(gold).strip())
    pattern = rf"{_IS}{value}(?!\w|[.,]\d)"
    statement = re.search(pattern, folded(body))
    return statement[0] if statement else ""
