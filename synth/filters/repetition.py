"""Drops texts that say the same again and again, as models do when they run in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import require_count
from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter
from synth.filters.near_duplicate import MOST_WORDS
from synth.text.words import amount, pieces

# Beyond this a text is looked at from its end: loops stand there.
MOST_CHARS = 50_000
# Rules and the frames of tables are long rows of one sign.
_RULES = "-=_*.# |\n\t"


@dataclass(frozen=True, kw_only=True)
class Repetition(RowFilter):
    """Share of words that stand in repeated n-grams, of repeated lines, and a loop at the end.

    After the repetition rules of Gopher (Rae et al., arXiv:2112.11446, table A1), with a rule for
    loops.

    Sees: one row. Costs: nothing; some 100,000 texts of 20 words a CPU-second.

    Args:
        field: the text; the row's raw reply where it lacks the field.
        words: words of an n-gram, 2 to 1,000.
        most: largest share (0 to 1) of words in n-grams that stood before.
        lines: largest share (0 to 1) of lines that stood before, for texts of four lines or more.
        loop: fewest times that the text's last words are said in a row to be a loop.

    Reasons:
        loop: the text ends in a circle.
        repeated_lines: lines stand twice.
        repeated_words: n-grams stand twice.

    Marks: `repeated` (share of words in repeated n-grams).

    Example:
        >>> texts = (
        ...     "He walks home and eats.",
        ...     "He walks home. " * 9,
        ...     "a b c d e f g h a b c d e f g h",
        ... )
        >>> [Repetition(words=3).judge({"reply": text}).reason for text in texts]
        ['', 'loop', 'repeated_words']
    """

    field: str = "rationale"
    words: int = 5
    most: float = 0.3
    lines: float = 0.3
    loop: int = 4

    reasons: ClassVar[dict[str, str]] = {
        "loop": "the text ends in a circle",
        "repeated_lines": "lines stand twice",
        "repeated_words": "n-grams stand twice",
    }

    def __post_init__(self) -> None:
        require_count("words", self.words, 2, MOST_WORDS)
        if not (
            0 <= self.most <= 1 and 0 <= self.lines <= 1 and self.loop >= 2
        ):
            raise ValueError(
                f"most={self.most}, lines={self.lines}, loop={self.loop}; "
                "use 2 or more, and shares from 0 to 1"
            )

    def verdict(self, row: Row) -> Verdict:
        text = field_text(row, self.field)[-MOST_CHARS:]
        words = pieces(text)
        length = self.words if text.isascii() else _reach(words, self.words)
        share = _repeated(words, length)
        reason = "repeated_words" if share > self.most else ""
        stripped = (line.strip() for line in text.split("\n"))
        lines = [line for line in stripped if line]
        if len(lines) >= 4:
            different = len(set(lines))
            if 1 - different / len(lines) > self.lines:
                reason = "repeated_lines"
        if _loops(words, self.loop) or _letters(text, self.loop):
            reason = "loop"
        marks = {"repeated": round(share, 4)}
        return Verdict(not reason, reason, marks)


def _reach(words: list[str], n: int) -> int:
    """How many of these words say what n words between spaces do."""
    if not words:
        return n
    return round(n * len(words) / amount(words))


def _repeated(words: list[str], n: int) -> float:
    """Share of words that are covered by n-grams that stood before."""
    shifted = (words[start:] for start in range(n))
    grams = list(zip(*shifted, strict=False))
    if len(set(grams)) == len(grams):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    covered = bytearray(len(words))
    for start, gram in enumerate(grams):
        if gram in seen:
            covered[start : start + n] = b"\x01" * n
        seen.add(gram)
    return sum(covered) / len(words)


def _loops(words: list[str], times: int) -> bool:
    """Whether the last 1 to 40 words, cut anywhere, are said `times` times in a row; single words
    three times as often.
    """
    if not words or words.count(words[-1]) < times:
        return False
    longest = min(40, len(words) // times)
    for length in range(1, longest + 1):
        repeats = times if length > 2 else 3 * times
        needed = length * repeats
        if len(words) >= needed + length and all(
            words[-1 - i] == words[-1 - i - length]
            for i in range(needed - length)
        ):
            return True
        # The whole text is the circle.
        if len(words) == needed and words == words[:length] * repeats:
            return True
    return False


def _letters(text: str, times: int) -> bool:
    """Whether a text without spaces ends in a circle of up to 20 signs."""
    tail = text.rstrip()[-400:]
    if len(tail) < 80 or tail.count(tail[-1]) < times:
        return False
    for length in range(1, 21):
        circle = tail[-length:]
        # 60 signs at least: a row of three letters is no circle yet.
        repeats = max(3 * times, 60 // length)
        if tail.endswith(circle * repeats) and circle.strip(_RULES):
            return True
    return False
