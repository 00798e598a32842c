"""Whether two answers have the same value."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from synth.verifiers._expression import MOST_CHARS, evaluate
from synth.verifiers._spelling import day, may_have_value, plain, special

_WRAPPED = re.compile(r"^(?:\\boxed\{(.*)\}|\\\((.*)\\\)|\$(?=.*[^\d,.\s])(.*)\$|\*\*(.*)\*\*|\((.*)\))$", re.DOTALL)
_UNIT = re.compile(r"^([-+]?[$€£]?\s*[\d,]*\.?\d+%?)\s*(?:[a-zA-Z]+\.?(?:\s+[a-zA-Z]+\.?){0,3})$")

_NO_WORD = re.compile(r"[^\w\s'+\-/*^=().,%]")


@lru_cache(maxsize=4096)
def number(text: str) -> Fraction | None:
    r"""The exact value of an answer: digits, money, percent, a unit behind, an expression, \frac; else None.

    >>> number("1,200 dollars"), number("(16 - 3) * 2"), number(r"\frac{1}{2}"), number("about ten")
    (Fraction(1200, 1), Fraction(26, 1), Fraction(1, 2), None)
    """
    text = _folded(text).rstrip(".").strip()
    if text[-1:].isalpha() and (unit := _UNIT.match(text)):
        return evaluate(unit.group(1))
    if not may_have_value(text):
        return None
    value = evaluate(text)
    if value is not None:
        return value if text.count("-") != 2 or day(text) is None else None
    if wrapped := _WRAPPED.match(text):
        return number(next(g for g in wrapped.groups() if g is not None))
    spelled = plain(text) if len(text) <= MOST_CHARS else text
    return number(spelled) if spelled != text and len(spelled) <= MOST_CHARS else None


@lru_cache(maxsize=4096)
def canonical(answer: str) -> str:
    """One text for all spellings of an answer: its value where it has one, else folded words.

    >>> canonical("$26.00") == canonical("26"), canonical(" The Hague. ") == canonical("the hague"), canonical("{2, 1}")
    (True, True, 'set =1; =2')
    """
    value = number(answer)
    if value is not None:
        return f"={value}"
    text = _folded(answer)
    if len(text) > MOST_CHARS:
        text = _folded(answer, len(answer))
    elif (found := special(text, canonical)) is not None:
        return found
    return " ".join(_NO_WORD.sub(" ", text.casefold()).strip(" .,!?'\"").split())


def _folded(text: str, most: int = MOST_CHARS + 1) -> str:
    """The first `most` characters in one Unicode form, no space around."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text[:most]))[:most].strip()


@dataclass(frozen=True, kw_only=True)
class MathEqual:
    """Compares two answers by value.

    Args:
        tolerance: relative difference that still counts as equal; 0 compares exactly.

    Example:
        >>> MathEqual().verify("(84 / 2)", "42"), MathEqual().verify("41", "42"), MathEqual().verify("blue", "42")
        (True, False, None)
    """

    tolerance: float = 1e-6

    def verify(self, answer: str, gold: str) -> bool | None:
        """True or False where both have a value, None (unknown) where either has none."""
        left, right = number(str(answer)), number(str(gold))
        if left is None or right is None:
            return None
        return left == right or abs(left - right) <= Fraction(self.tolerance) * abs(right)


def same_answer(answer: str, gold: str, tolerance: float = 1e-6) -> bool:
    """Whether two answers agree: by value where both have one, else as folded text.

    >>> same_answer("train station", "Train station."), same_answer("26", "26 eggs"), same_answer("bus", "26")
    (True, True, False)
    """
    if answer == gold:
        return True
    by_value = MathEqual(tolerance=tolerance).verify(answer, gold)
    return canonical(str(answer)) == canonical(str(gold)) if by_value is None else by_value
