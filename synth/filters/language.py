"""Keeps rows in the languages asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

from synth.core.errors import WrongUse
from synth.core.optional import optional
from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter

MOST_CHARS = 4000


@dataclass(frozen=True, kw_only=True)
class Language(RowFilter):
    """Asks py3langid (`pip install 'potstill[language]'`), which knows 97 languages.

    Sees: one row. Costs: nothing; some 10,000 texts of 50 words a CPU-second.

    Args:
        languages: codes of ISO 639-1, such as `en` or `[en, de]`.
        field: the text; the row's raw reply where it lacks the field.
        words: shorter texts are unknown: a few words or a formula have no sure language.
        least: least probability (0 to 1) of the language that is found; below it is unknown.

    Reasons:
        other_language: it is another one.
        unsure: too short, or no language is likely enough (unknown).

    Marks: `language`, `probability`.

    Example:
        >>> texts = (
        ...     "The rain fell on the old town all day long",
        ...     "Der Regen fiel den ganzen Tag auf die alte Stadt",
        ...     "2 + 2",
        ... )
        >>> [Language(languages="en").judge({"reply": text}).reason for text in texts]
        ['', 'other_language', 'unsure']
    """

    languages: str | tuple[str, ...] = "en"
    field: str = "rationale"
    words: int = 5
    least: float = 0.6

    reasons: ClassVar[dict[str, str]] = {
        "other_language": "another language",
        "unsure": "too short or not likely enough",
    }

    @cached_property
    def wanted(self) -> frozenset[str]:
        """Codes that are kept."""
        given = (
            [self.languages]
            if isinstance(self.languages, str)
            else list(self.languages)
        )
        return frozenset(_checked(given, _model().nb_classes))

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)[:MOST_CHARS]
        if (
            sum(word.isalpha() for word in text.split()) < self.words
            and text.isascii()
        ):
            return Verdict(
                None, "unsure", {"language": None, "probability": 0.0}
            )
        language, probability = _model().classify(text)
        marks = {
            "language": str(language),
            "probability": round(float(probability), 4),
        }
        if probability < self.least:
            return Verdict(None, "unsure", marks)
        return Verdict(
            str(language) in self.wanted,
            "" if str(language) in self.wanted else "other_language",
            marks,
        )


@cache
def _model() -> Any:
    """One model a process: reading it takes a second."""
    langid = optional("py3langid.langid", "language", "filter language")
    return langid.LanguageIdentifier.from_model_file(
        langid.MODEL_FILE, norm_probs=True
    )


def _checked(given: Sequence[str], codes: Sequence[str]) -> Sequence[str]:
    if missing := [code for code in given if code not in codes]:
        raise WrongUse(
            "language:languages",
            f"{missing[0]!r}",
            "a code of ISO 639-1",
            f"Use one of {', '.join(sorted(codes))}.",
        )
    return given
