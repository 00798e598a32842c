"""Whether every computed step in a text is right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from synth.answers.expression import Token, scan, value_of

# The longest text that is read: 100 KB of hostile prose costs some 0.2 s.
_MARK = re.compile(r"<<([^<>\n]{0,200})>>")
MOST_TEXT = 100_000
_PARTS = {"number", "op", "open", "close", "money", "percent"}


@dataclass(frozen=True, slots=True)
class Equation:
    """One `expression = number` of a text; `right` says whether it holds."""

    text: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class ArithmeticSteps:
    """Finds every `expression = result` and computes the expression exactly.

    Calculator marks (`<<16-3=13>>`, as GSM8K has them) are steps of their own. What cannot be read
    (unknowns, units inside a sum, times) is passed over, never called wrong. A result written with
    decimals may be rounded to them.

    Args:
        least: a text with fewer computed steps than this is unknown.

    Example:
        >>> ArithmeticSteps().verify("7 + 5 = 12, then 12 - 3 = 8.")
        False
        >>> [e.text for e in ArithmeticSteps().equations("so 3 * 4 = 12 and x + 1 = 5")]
        ['3 * 4 = 12']
    """

    least: int = 1

    def verify(self, text: str) -> bool | None:
        """True where all steps hold, False where one does not, None with fewer than `least`
        steps.
        """
        equations = self.equations(text)
        if any(not e.right for e in equations):
            return False
        return True if len(equations) >= self.least else None

    def equations(self, text: str) -> list[Equation]:
        """Every readable equation, in order."""
        text = text[:MOST_TEXT]
        if "<<" in text:
            text = " ; ".join([_MARK.sub("", text), *_MARK.findall(text)])
        tokens = scan(text) if "=" in text else []
        equations = (
            _equation(text, tokens, at)
            for at, token in enumerate(tokens)
            if token.kind == "equals"
        )
        return [e for e in equations if e is not None]


def _equation(text: str, tokens: list[Token], at: int) -> Equation | None:
    """The equation around the `=` at a position, or None where one side has no value or nothing was
    computed.
    """
    start = _left(tokens, at)
    end = _right(tokens, at)
    left = tokens[start:at]
    right = tokens[at + 1 : end]
    computed = any(t.kind == "op" for t in left[1:])
    if not computed or not right:
        return None
    a = value_of(left)
    b = value_of(right)
    if a is None or b is None:
        return None
    spelled = text[tokens[start].start : tokens[end - 1].end]
    return Equation(spelled, _agree(a, b, left, right))


def _left(tokens: list[Token], at: int) -> int:
    """Where the expression before `=` begins; `at` itself where it hangs on a word (`6p + 30
    =`).
    """
    start = at
    while start > 0 and tokens[start - 1].kind in _PARTS and at - start < 64:
        start -= 1
    if start < at and tokens[start].kind == "op":
        sign = (
            tokens[start].text == "-"
            and start + 1 < at
            and tokens[start + 1].glued
            and not tokens[start].glued
        )
        start = start if sign else at
    start = _open(tokens, start, at)
    if (
        start > 0
        and tokens[start - 1].kind == "other"
        and start < at
        and tokens[start].glued
        and tokens[start - 1].text.isalpha()
    ):
        return at
    return start


def _open(tokens: list[Token], start: int, at: int) -> int:
    """Starts behind a bracket that only closes after the equation."""
    depth = 0
    for position in range(at - 1, start - 1, -1):
        depth += (tokens[position].kind == "close") - (
            tokens[position].kind == "open"
        )
        if depth < 0:
            return position + 1
    return start


def _right(tokens: list[Token], at: int) -> int:
    """Where the expression behind `=` ends; trailing operators and what hangs on a word do not
    count.
    """
    end = at + 1
    while end < len(tokens) and tokens[end].kind in _PARTS and end - at < 64:
        end += 1
    open_end = end
    while end > at + 1 and tokens[end - 1].kind in {"op", "open", "money"}:
        end -= 1
    hangs = end < open_end < len(tokens) and tokens[open_end - 1].kind in {
        "op",
        "open",
    }
    glued = (
        end < len(tokens)
        and tokens[end].kind == "other"
        and tokens[end].glued
        and tokens[end].text.isalnum()
    )
    return at + 1 if hangs or glued else _close(tokens, at + 1, end)


def _close(tokens: list[Token], start: int, end: int) -> int:
    """Cuts at a bracket that was opened before the equation: in `(3 + 4 = 7)` the last one is
    prose.
    """
    depth = 0
    for position in range(start, end):
        depth += (tokens[position].kind == "open") - (
            tokens[position].kind == "close"
        )
        if depth < 0:
            return position
    return end


def _agree(
    a: Fraction, b: Fraction, left: list[Token], right: list[Token]
) -> bool:
    """Equal, equal up to the rounding that the result shows, or equal but for how a percentage is
    meant.
    """
    unit = _unit(right)
    percent = any(t.kind == "percent" for t in (*left, *right))
    return any(
        _shows(x, b, unit) for x in ((a, a / 100, a * 100) if percent else (a,))
    )


def _shows(exact: Fraction, shown: Fraction, unit: Fraction) -> bool:
    """Whether a result is the exact value, rounded or cut off to its last decimal."""
    off = abs(exact - shown)
    return (
        off == 0 or off <= unit / 2 or (off < unit and abs(shown) < abs(exact))
    )


def _unit(tokens: list[Token]) -> Fraction:
    """One unit of the last decimal shown; 0 for integers, which must be exact."""
    shown = max(
        (len(t.text.partition(".")[2]) for t in tokens if t.kind == "number"),
        default=0,
    )
    scale = 100 if any(t.kind == "percent" for t in tokens) else 1
    return Fraction(1, 10**shown * scale) if shown else Fraction(0)
