"""Keeps short texts that are made of the right characters and words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from synth.core.errors import WrongUse, require_count
from synth.core.records import Row, Verdict
from synth.core.registry import MOST
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.text.words import terms, words


@cache
def _class_of(characters: str) -> re.Pattern[str]:
    """What finds a character outside a class: it looks at one character at a time, so that no text
    takes it long.

    Raises:
        re.error: the text is more than the inside of one class.
    """
    # A `]` would end the class, and what follows it could repeat.
    if not re.fullmatch(r"(?:[^\]\\]|\\.)*", characters, re.DOTALL):
        raise re.error("a ] or \\ that ends the class")
    return re.compile(f"[^{characters}]" if characters else "(?!)")


@cache
def _runs_of(
    banned: tuple[str, ...],
) -> tuple[dict[str, str], dict[int, dict[tuple[str, ...], str]]]:
    """(banned words that are one word, by their length those that no spaces part)."""
    single: dict[str, str] = {}
    several: dict[int, dict[tuple[str, ...], str]] = {}
    for word in banned:
        run = tuple(words(word))
        if len(run) == 1:
            single[run[0]] = word.casefold()
        elif run:
            several.setdefault(len(run), {})[run] = word.casefold()
    return single, several


def _banned(spoken: list[str], banned: tuple[str, ...]) -> list[str]:
    """The banned words that are said, single ones first."""
    single, several = _runs_of(banned)
    banned_words = [single[word] for word in spoken if word in single]
    for length, runs in several.items():
        grams = zip(*(spoken[start:] for start in range(length)), strict=False)
        banned_words += [runs[gram] for gram in grams if gram in runs]
    return banned_words


@dataclass(frozen=True, kw_only=True)
class Wording(RowFilter):
    r"""Rules of form where no model is at hand: what constrained decoding would have kept a teacher
    from writing (I2D2, ATOMIC-10x).

    Sees: one row. Costs: nothing.

    Args:
        field: the field with the text; the raw reply where a row lacks it.
        starts: texts of which one must stand at the beginning; none for any.
        characters: a class of a regular expression, such as `\w ',.$-`, that all characters must be
            of; "" for any.
        least: fewest characters.
        banned: words that may not stand there, without case, `most_banned` times excepted.
        most_banned: how often banned words may stand there, all together.
        once: fields whose words may not come again, such as the concept that a statement is about.

    Reasons:
        other_start: it begins otherwise.
        odd_character: a character outside the class.
        too_short: fewer characters.
        banned_word: more banned words than allowed.
        repeats: a word of `once`.

    Marks: `what` (the word or character).

    Example:
        >>> Wording(field="head", starts=("PersonX",), characters=r"\w '").judge(
        ...     {"head": "PersonX eats; sleeps"}
        ... ).marks
        {'what': ';'}
    """

    field: str = "text"
    starts: tuple[str, ...] = ()
    characters: str = ""
    least: int = 1
    banned: tuple[str, ...] = ()
    most_banned: int = 0
    once: tuple[str, ...] = ()

    reasons: ClassVar[dict[str, str]] = {
        "other_start": "another beginning",
        "odd_character": "a character outside the class",
        "too_short": "too short",
        "banned_word": "a banned word",
        "repeats": "a word that may not come again",
    }

    def __post_init__(self) -> None:
        require_count("most_banned", self.most_banned, 0, MOST)
        try:
            _class_of(self.characters)
        except re.error as error:
            raise WrongUse(
                "wording:characters",
                f"{self.characters!r} ({error})",
                "a class of characters",
                "Escape ] and \\.",
            ) from error

    def needs(self) -> tuple[str, ...]:
        """Fields whose words may not come again."""
        return self.once

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field).strip()
        if len(text) < self.least:
            return Verdict(False, "too_short", {"what": text})
        if self.starts and not text.startswith(self.starts):
            return Verdict(False, "other_start", {"what": text[:40]})
        if self.characters and (odd := _class_of(self.characters).search(text)):
            return Verdict(False, "odd_character", {"what": odd[0]})
        words_of_text = words(text)
        if (
            len(banned_words := _banned(words_of_text, tuple(self.banned)))
            > self.most_banned
        ):
            return Verdict(False, "banned_word", {"what": banned_words[-1]})
        if not self.once:
            return Verdict(True)
        again = {
            term
            for name in self.once
            for term in terms(words(str(row.get(name) or "")))
        }
        repeated = next(
            (term for term in terms(words_of_text) if term in again), None
        )
        return Verdict(
            repeated is None,
            "" if repeated is None else "repeats",
            {} if repeated is None else {"what": repeated},
        )
