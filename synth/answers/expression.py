"""Arithmetic as people write it, read exactly: numbers, money, percent, fractions, + - * / ^ and
brackets.

Linear scanner and a recursive reader over Fractions; caps on length, depth and digits make hostile
text cheap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from synth.core.patterns import lazy_pattern

MOST_CHARS = 512
MOST_DEPTH = 50
MOST_DIGITS = 512
MOST_POWER = 64
# The longest whole number that a power may come to, in bits.
_MOST_BITS = 1 << 14

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
# An x is a sign of multiplication before a value, and else an unknown: `2x - 3 = 20`.
TOKEN = lazy_pattern(
    rf"(?P<space>\s+)|(?P<number>{_NUMBER})|(?P<op>\*\*|[-+*/^×÷·−–⋅∗]"
    r"|(?<=[\d)\s])[xX](?=\s*[-−]?[(\d.$€£¥]))|(?P<open>\()|(?P<close>\))"
    r"|(?P<equals>=)|(?P<money>[$€£¥])|(?P<percent>%)|(?P<other>[^\W\d_]+|.)",
    re.DOTALL,
)
# What most answers are: no token has to be looked at.
PLAIN = lazy_pattern(r"-?[0-9]+(?:\.[0-9]+)?")
_PRICE = lazy_pattern(
    r"-?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
)
_SAME = {
    "×": "*",
    "x": "*",
    "X": "*",
    "·": "*",
    "⋅": "*",
    "∗": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "**": "^",
}


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text; `glued` says that no space stands before it."""

    kind: str
    text: str
    start: int
    end: int
    glued: bool


def scan(text: str) -> list[Token]:
    """All tokens of a text, spaces dropped, operators in one spelling."""
    tokens = []
    glued = False
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "space":
            word = match.group()
            tokens.append(
                Token(
                    kind,
                    _SAME.get(word, word) if kind == "op" else word,
                    match.start(),
                    match.end(),
                    glued,
                )
            )
        glued = kind != "space"
    return tokens


class NotArithmetic(ValueError):
    """The tokens are no expression with a value."""


class _Reader:
    """Precedence climbing over tokens: sum > product > sign > power > number."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, kind: str, texts: str = "") -> Token | None:
        token = self.peek()
        if (
            token is None
            or token.kind != kind
            or (texts and token.text not in texts)
        ):
            return None
        self.at += 1
        return token

    def whole(self) -> Fraction:
        value = self.sum()
        if self.peek() is not None:
            raise NotArithmetic("something follows the expression")
        return value

    def sum(self) -> Fraction:
        value = self.product()
        while op := self.take("op", "+-"):
            right = self.product()
            value = value + right if op.text == "+" else value - right
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while op := self.take("op", "*/"):
            right = self.signed()
            if op.text == "/" and right == 0:
                raise NotArithmetic("division by zero")
            value = value * right if op.text == "*" else value / right
        return value

    def power(self) -> Fraction:
        base = self.atom()
        if not self.take("op", "^"):
            return base
        exponent = self.signed()
        if (
            exponent.denominator != 1
            or abs(exponent) > MOST_POWER
            or (base == 0 and exponent < 0)
        ):
            raise NotArithmetic("a power that is not computed here")
        if (
            abs(exponent)
            * max(base.numerator.bit_length(), base.denominator.bit_length())
            > _MOST_BITS
        ):
            raise NotArithmetic("a power too large to compute")
        return Fraction(base**exponent.numerator)

    def signed(self) -> Fraction:
        negative = False
        for _ in range(MOST_DEPTH):
            op = self.take("op", "+-")
            if op is None:
                return -self.power() if negative else self.power()
            negative ^= op.text == "-"
        raise NotArithmetic("too many signs")

    def atom(self) -> Fraction:
        self.take("money")
        if self.take("open"):
            value = self.bracket()
        elif number := self.take("number"):
            value = to_fraction(number.text)
        else:
            raise NotArithmetic("no number where one was due")
        return value / 100 if self.take("percent") else value

    def bracket(self) -> Fraction:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise NotArithmetic("too deep")
        value = self.sum()
        if not self.take("close"):
            raise NotArithmetic("an open bracket")
        self.depth -= 1
        return value


def to_fraction(text: str) -> Fraction:
    """A plain decimal number, commas allowed."""
    if len(text) > MOST_DIGITS:
        raise NotArithmetic("too many digits")
    return Fraction(text.replace(",", ""))


def value_of(tokens: list[Token]) -> Fraction | None:
    """The value of an expression, or None where the tokens are not one."""
    if not tokens or tokens[-1].end - tokens[0].start > MOST_CHARS:
        return None
    try:
        return _Reader(tokens).whole()
    except (NotArithmetic, OverflowError, RecursionError):
        return None


def evaluate(text: str) -> Fraction | None:
    """The exact value of a number or expression in text form; None where it has none.

    >>> evaluate("( 84.0 / 2.0 )"), evaluate("$1,200.50"), evaluate("25%"), evaluate("5 + x")
    (Fraction(42, 1), Fraction(2401, 2), Fraction(1, 4), None)
    """
    if len(text) <= MOST_DIGITS and _PRICE.fullmatch(text):
        digits = (
            text.replace(",", "")
            .replace("$", "")
            .replace("€", "")
            .replace("£", "")
        )
        return Fraction(int(digits)) if "." not in digits else Fraction(digits)
    return value_of(scan(text)) if len(text) <= MOST_CHARS else None


def decimal_text(value: Fraction, most: int = 6) -> str:
    """A number as decimals: exact where `most` of them are enough, else rounded to two.

    >>> decimal_text(Fraction(12)), decimal_text(Fraction(5, 2)), decimal_text(Fraction(-10, 3))
    ('12', '2.5', '-3.33')
    """
    scaled = value * 10**most
    shown = most if scaled.denominator == 1 else 2
    units = round(value * 10**shown)
    whole, part = divmod(abs(units), 10**shown)
    digits = f"{part:0{shown}d}".rstrip("0")
    sign = "-" if units < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
