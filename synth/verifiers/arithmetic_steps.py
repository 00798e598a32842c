"""Whether every computed step in a text is right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from synth.answers.expression import Token, scan, value_of

# The longest text that is read: 100 KB of hostile prose costs some 0.2 s.
_MARK = re.compile(r"<<([^<>\n]{0,200})>>")
MOST_TEXT = 100_000
_PARTS = {"number", "op", "open", "close", "money", "percent"}
# What ends a sentence or begins the next one, and what announces more of a sum.
_TRAILING = {"op", "open", "money"}
_GOING_ON = {"op", "open"}
_BULLETS = (["op"], ["number", "close"], ["open", "number", "close"])
# Signs before an `=` that are looked at.
_OPEN_TEXT = 2_000
# Tokens of one side at most.
_REACH = 64


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
            prose = _MARK.sub("", text)
            text = " ; ".join([prose, *_MARK.findall(text)])
        if "=" not in text:
            return []
        tokens = scan(text)
        starts = _line_starts(text, tokens)
        equations = (
            _equation(text, tokens, at, starts)
            for at, token in enumerate(tokens)
            if token.kind == "equals"
        )
        return [e for e in equations if e is not None]


def open_sum(text: str) -> Fraction | None:
    """The value of the sum before an `=` at the end of a text; None where nothing is computed there
    or it has no value.

    >>> open_sum("She has 3 * (4 + 1) ="), open_sum("7 = 3 + 4, so x ="), open_sum("is 5 =")
    (Fraction(15, 1), None, None)
    """
    # Its beginning, where it is cut, is farther away than a sum is long.
    tokens = scan(text[-_OPEN_TEXT:])
    if not tokens or tokens[-1].kind != "equals":
        return None
    at = len(tokens) - 1
    start = _left(
        tokens,
        at,
        _line_starts(text[-_OPEN_TEXT:], tokens),
    )
    left = tokens[start:at]
    if not any(token.kind == "op" for token in left[1:]):
        return None
    return value_of(left)


def _line_starts(text: str, tokens: list[Token]) -> frozenset[int]:
    """Positions of tokens that begin a line and may begin an expression: all but those behind an
    operator or a bracket that is still open.
    """
    starts = {0}
    for number, (before, token) in enumerate(pairwise(tokens), 1):
        goes_on = before.kind in _TRAILING or before.kind == "equals"
        gap = text[before.end : token.start]
        if "\n" in gap and not goes_on:
            starts.add(number)
    return frozenset(starts)


def _equation(
    text: str,
    tokens: list[Token],
    at: int,
    starts: frozenset[int],
) -> Equation | None:
    """The equation around the `=` at a position, or None where one side has no value or nothing was
    computed.
    """
    ends = _left(tokens, at, starts), _right(tokens, at, starts)
    equation = _between(text, tokens, at, ends)
    if equation is not None and equation.right:
        return equation
    # A line that begins with an operator may be an item of a list, or go on with the line before.
    farther = _left(tokens, at, frozenset()), _right(tokens, at, frozenset())
    if farther == ends:
        return equation
    longer = _between(text, tokens, at, farther)
    if longer is not None and longer.right:
        return longer
    return equation


def _between(
    text: str,
    tokens: list[Token],
    at: int,
    ends: tuple[int, int],
) -> Equation | None:
    """The equation whose sides begin and end at these positions."""
    start, end = ends
    left = tokens[start:at]
    right = tokens[at + 1 : end]
    computed = any(t.kind == "op" for t in left[1:])
    if not computed or not right:
        return None
    a = value_of(left)
    b = value_of(right)
    if a is None or b is None:
        return None
    spelled = text[left[0].start : right[-1].end]
    return Equation(spelled, _agree(a, b, left, right))


def _left(
    tokens: list[Token],
    at: int,
    starts: frozenset[int],
) -> int:
    """Where the expression before `=` begins; `at` itself where it hangs on a word (`6p + 30
    =`).
    """
    start = at
    first = max(0, at - _REACH)
    while start > first and tokens[start - 1].kind in _PARTS:
        start -= 1
        if start in starts:
            break
    if start in starts:
        start += _bullet(tokens[start:at])
    if start < at and tokens[start].kind == "op":
        # `-3 + 5 =` begins with a sign; `2 pens + 3 =` goes on from a word.
        operator = tokens[start]
        is_sign = (
            operator.text == "-"
            and not operator.glued
            and start + 1 < at
            and tokens[start + 1].glued
        )
        if not is_sign:
            start = at
    start = _open(tokens, start, at)
    if 0 < start < at and tokens[start].glued:
        before = tokens[start - 1]
        if before.kind == "other" and before.text.isalpha():
            return at
    return start


def _bullet(line: list[Token]) -> int:
    """Tokens of the mark with which an item of a list begins: an operator, `1)` or `(1)` that
    stands apart.
    """
    kinds = [token.kind for token in line]
    for mark in _BULLETS:
        count = len(mark)
        if kinds[:count] != mark or len(kinds) == count:
            continue
        behind = line[count]
        if not behind.glued:
            return count
    return 0


def _open(
    tokens: list[Token],
    start: int,
    at: int,
) -> int:
    """Starts behind a bracket that only closes after the equation."""
    depth = 0
    for position in range(
        at - 1,
        start - 1,
        -1,
    ):
        kind = tokens[position].kind
        depth += (kind == "close") - (kind == "open")
        if depth < 0:
            return position + 1
    return start


def _right(
    tokens: list[Token],
    at: int,
    starts: frozenset[int],
) -> int:
    """Where the expression behind `=` ends; trailing operators and what hangs on a word do not
    count.
    """
    start = at + 1
    end = start
    last = min(len(tokens), at + _REACH)
    while end < last and tokens[end].kind in _PARTS:
        if end > start and end in starts:
            return _close(tokens, start, end)
        end += 1
    open_end = end
    while end > start and tokens[end - 1].kind in _TRAILING:
        end -= 1
    if end < open_end < len(tokens):
        # `= 3 + x`: the operator goes on with what cannot be read.
        if tokens[open_end - 1].kind in _GOING_ON:
            return start
    elif end < len(tokens):
        behind = tokens[end]
        if behind.kind == "other" and behind.glued and behind.text.isalnum():
            return start
    return _close(tokens, start, end)


def _close(
    tokens: list[Token],
    start: int,
    end: int,
) -> int:
    """Cuts at a bracket that was opened before the equation: in `(3 + 4 = 7)` the last one is
    prose.
    """
    depth = 0
    for position in range(start, end):
        kind = tokens[position].kind
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            return position
    return end


def _agree(
    a: Fraction,
    b: Fraction,
    left: list[Token],
    right: list[Token],
) -> bool:
    """Equal, equal up to the rounding that the result shows, or equal but for how a percentage is
    meant.
    """
    unit = _unit(right)
    if _shows(a, b, unit):
        return True
    if not any(t.kind == "percent" for t in (*left, *right)):
        return False
    # `20 % of 50 = 10`, `1 / 4 = 25 %`.
    return _shows(a / 100, b, unit) or _shows(a * 100, b, unit)


def _shows(
    exact: Fraction,
    shown: Fraction,
    unit: Fraction,
) -> bool:
    """Whether a result is the exact value, rounded or cut off to its last decimal."""
    off = abs(exact - shown)
    if off == 0:
        return True
    if off >= unit:
        return False
    return off <= unit / 2 or abs(shown) < abs(exact)


def _unit(tokens: list[Token]) -> Fraction:
    """One unit of the last decimal shown; 0 for integers, which must be exact."""
    numbers = [t.text for t in tokens if t.kind == "number"]
    decimals = [len(number.partition(".")[2]) for number in numbers]
    shown = max(decimals, default=0)
    if not shown:
        return Fraction(0)
    is_percent = any(t.kind == "percent" for t in tokens)
    scale = 100 if is_percent else 1
    return Fraction(1, 10**shown * scale)
