"""Numbers as people write them: digits of all scripts, marks of several languages, words, Chinese
and Japanese numerals.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Literal, NamedTuple

from synth.core.patterns import lazy_pattern

# Which mark a text's decimals have: unknown, as in English, or as in most of Europe.
DecimalMark = Literal["", ".", ","]

_INVISIBLE = (
    "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_SIGNS = {
    **dict.fromkeys(map(ord, _INVISIBLE)),
    **dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\ufe63\uff0d"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u00b4"), "'"),
    ord("\u066b"): ".",
    ord("\u066c"): ",",
    ord("\u060c"): ",",
    ord("\u066a"): "%",
    ord("\u3001"): ",",
    ord("\u2044"): "/",
    ord("\u3002"): ".",
    ord("\u2248"): "~",
    ord("\u223c"): "~",
    ord("\u2243"): "~",
}
_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b",
    "0123456789+-",
)
_RAISED_RUN = lazy_pattern(
    "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b]+"
)
_VULGAR = lazy_pattern("[\u00bc-\u00be\u2150-\u215e]")


def plain_signs(text: str) -> str:
    """A text with one sign for each digit, mark, space and minus; raised digits as powers, vulgar
    fractions with a stroke.

    >>> plain_signs("\u0661\u0662\u066b\u0665")
    '12.5'
    >>> plain_signs("1\u00bd m\u00b2")
    '1 1/2 m^(2)'
    >>> plain_signs("\uff11\u202f234")
    '1 234'
    """
    if text.isascii():
        return text
    text = _RAISED_RUN.sub(lambda run: f"^({run[0].translate(_RAISED)})", text)
    text = _VULGAR.sub(
        lambda sign: " " + unicodedata.normalize("NFKC", sign[0]), text
    )
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(
        _SIGNS
    )
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(sign)) if sign.isdecimal() else sign
        for sign in text
    )


class Written(NamedTuple):
    """A number, and what else it may be: `other` in another language, `listed` where it may also be
    two numbers.
    """

    value: Fraction
    other: Fraction | None = None
    listed: bool = False


# Each form with the marks that separate its thousands and its decimals.
_FORMS = (
    ("plain", lazy_pattern(r"\d+(?:\.\d+)?|\.\d+"), "", "."),
    ("english", lazy_pattern(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"), ",", "."),
    (
        "european",
        lazy_pattern(
            r"[1-9]\d{0,2}(?:\.\d{3}){2,}|[1-9]\d{0,2}(?:\.\d{3})+,\d+"
        ),
        ".",
        ",",
    ),
    ("spaced", lazy_pattern(r"[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?"), " ", "."),
    ("spaced", lazy_pattern(r"[1-9]\d{0,2}(?: \d{3})+,\d+"), " ", ","),
    ("swiss", lazy_pattern(r"[1-9]\d{0,2}(?:'\d{3})+(?:\.\d+)?"), "'", "."),
    ("swiss", lazy_pattern(r"[1-9]\d{0,2}(?:'\d{3})+,\d+"), "'", ","),
    ("indian", lazy_pattern(r"[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d+)?"), ",", "."),
    ("program", lazy_pattern(r"[1-9]\d{0,2}(?:_\d{3})+(?:\.\d+)?"), "_", "."),
    ("comma", lazy_pattern(r"\d+,\d+"), "", ","),
)
_EUROPEAN = (
    ("european", lazy_pattern(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?"), ".", ","),
    ("comma", lazy_pattern(r"\d+(?:,\d+)?"), "", ","),
    *_FORMS,
)
_LONE = lazy_pattern(r"[1-9]\d{0,2}[.,]\d{3}")
# The longest number that is read, in signs: the longest text that is (int() itself takes 4,300
# digits).
_MOST_DIGITS = 512


def written(text: str, decimal: DecimalMark = "") -> Written | None:
    """The value of digits with marks; None where the text is anything else.

    A lone mark before three digits is read as in English, and `other` is what it is elsewhere.

    >>> written("1.234,56").value
    Fraction(30864, 25)
    >>> written("12,34,567").value
    Fraction(1234567, 1)
    >>> written("1.234")
    Written(value=Fraction(617, 500), other=Fraction(1234, 1), listed=False)
    >>> written("12 34")
    """
    if len(text) > _MOST_DIGITS:
        return None
    for name, form, thousands, point in _EUROPEAN if decimal == "," else _FORMS:
        if form.fullmatch(text):
            digits = text.replace(thousands, "") if thousands else text
            value = Fraction(digits.replace(point, "."))
            lone = not decimal and _LONE.fullmatch(text) is not None
            other = None
            if lone:
                other = value / 1000 if name == "english" else value * 1000
            return Written(value, other, listed=name == "comma" and not decimal)
    return None


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {
    **{word: n for n, word in enumerate(_ONES.split())},
    **{word: 10 * n for n, word in enumerate(_TENS.split(), 2)},
}
_LARGE = {
    "hundred": 100,
    "dozen": 12,
    "dozens": 12,
    "thousand": 10**3,
    "lakh": 10**5,
    "lakhs": 10**5,
    "lac": 10**5,
    "million": 10**6,
    "crore": 10**7,
    "crores": 10**7,
    "billion": 10**9,
    "trillion": 10**12,
}
_PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "hundredth": 100,
    "thousandth": 1000,
}
_MANY_PARTS = {
    "halves": 2,
    **{f"{word}s": n for word, n in _PARTS.items() if word != "half"},
}
NUMBER_WORDS = {*_SMALL, *_LARGE, *_PARTS, *_MANY_PARTS}
NUMBER_WORD = lazy_pattern(
    rf"\b(?:{'|'.join(sorted(NUMBER_WORDS))})\b", re.IGNORECASE
)
# The longest number below 10**15 takes 30.
_MOST_WORDS = 40


def words(text: str) -> tuple[Fraction, str] | None:
    """The value of the number words at the start of a text and what follows them; None where it
    starts with none.

    >>> words("twenty-three")
    (Fraction(23, 1), '')
    >>> words("one and a half million people")
    (Fraction(1500000, 1), 'people')
    >>> words("half a dozen")
    (Fraction(6, 1), '')
    >>> words("blue")
    """
    if NUMBER_WORD.search(text[:60]) is None:
        return None
    tokens = re.split(r"(?<=[a-zA-Z])-(?=[a-zA-Z])|\s+", text.strip())
    low = [word.casefold() for word in tokens[:_MOST_WORDS]]
    negative = low[:1] in (["minus"], ["negative"])
    reader = _Words(low, int(negative))
    value = reader.number()
    if value is None:
        return None
    return (-value if negative else value), " ".join(tokens[reader.at :])


class _Words:
    """Reads number words from the left."""

    def __init__(self, low: list[str], at: int) -> None:
        self.low = low
        self.at = at

    def word(self, ahead: int = 0) -> str:
        index = self.at + ahead
        return self.low[index] if index < len(self.low) else ""

    def number(self) -> Fraction | None:
        """A cardinal, a fraction, or both; then scales (`half a million`)."""
        value = self.fraction()
        if value is None and (value := self.cardinal()) is not None:
            value = self.with_decimals(value)
            parts = {**_MANY_PARTS, **(_PARTS if value == 1 else {})}
            if self.word() in parts:
                value = value / parts[self.word()]
                self.at += 1
            elif self.word() == "and":
                value += self.after_and()
        while value is not None and (scale := self.scale()):
            value *= scale
        return value

    def scale(self) -> int:
        article = self.word() in ("a", "an", "of") and self.word(1) in _LARGE
        if not article and self.word() not in _LARGE:
            return 0
        self.at += 2 if article else 1
        return _LARGE[self.word(-1)]

    def fraction(self) -> Fraction | None:
        """`half`, `a quarter`: without a number before it."""
        article = self.word() in ("a", "an")
        if self.word(int(article)) not in _PARTS or (
            not article and self.word() != "half"
        ):
            return None
        self.at += 1 + article
        return Fraction(1, _PARTS[self.word(-1)])

    def after_and(self) -> Fraction:
        """The fraction behind `and`, 0 where none stands there."""
        start = self.at
        self.at += 1
        fraction = self.fraction()
        if fraction is None and (many := self.cardinal()) is not None:
            parts = {**_MANY_PARTS, **(_PARTS if many == 1 else {})}
            if self.word() in parts:
                fraction = many / parts[self.word()]
                self.at += 1
        if fraction is None or fraction >= 1:
            self.at = start
            return Fraction(0)
        return fraction

    def with_decimals(self, value: Fraction) -> Fraction:
        if self.word() != "point" or _SMALL.get(self.word(1), 10) > 9:
            return value
        self.at += 1
        size = Fraction(1)
        while _SMALL.get(self.word(), 10) < 10:
            size /= 10
            value += _SMALL[self.word()] * size
            self.at += 1
        return value

    def cardinal(self) -> Fraction | None:
        """`one hundred and five`, `a thousand`; tens take ones behind them, and scales get
        smaller.
        """
        total = part = 0
        free = 100
        least = 10**18
        start = self.at
        if self.word() in ("a", "an") and self.word(1) in _LARGE:
            part = 1
            free = 0
            self.at += 1
        while True:
            word = self.word()
            if (
                word == "and"
                and self.at > start
                and self.word(-1) in _LARGE
                and self.word(1) in _SMALL
            ):
                free = 100
                self.at += 1
            elif (
                word in _SMALL
                and _SMALL[word] < free
                and (_SMALL[word] or self.at == start)
            ):
                part += _SMALL[word]
                free = 10 if _SMALL[word] >= 20 else 0
                self.at += 1
            elif word == "hundred" and part < 100 and self.at > start:
                part = max(1, part) * 100
                free = 100
                self.at += 1
            elif (
                word in _LARGE
                and word != "hundred"
                and _LARGE[word] < least
                and self.at > start
            ):
                total = total + max(1, part) * _LARGE[word]
                part = 0
                free = 100
                least = _LARGE[word]
                self.at += 1
            elif word in _LARGE and self.at == start:
                part = 1
                free = 0
                total, part, least = (
                    (0, 100, least)
                    if word == "hundred"
                    else (_LARGE[word], 0, _LARGE[word])
                )
                free = 100
                self.at += 1
            else:
                return Fraction(total + part) if self.at > start else None


_HAN = {
    sign: n
    for n, sign in enumerate(
        "\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"
    )
}
_HAN |= {"\u3007": 0, "\u4e24": 2, "\u5169": 2}
_HAN |= {
    sign: n
    for n, sign in enumerate(
        "\u58f9\u8d30\u53c1\u8086\u4f0d\u9646\u67d2\u634c\u7396", 1
    )
}
_HAN_TENS = {
    "\u5341": 10,
    "\u767e": 100,
    "\u5343": 1000,
    "\u62fe": 10,
    "\u4f70": 100,
    "\u4edf": 1000,
}
_HAN_LARGE = {
    "\u4e07": 10**4,
    "\u842c": 10**4,
    "\u4ebf": 10**8,
    "\u5104": 10**8,
    "\u5146": 10**12,
    "\ub9cc": 10**4,
    "\uc5b5": 10**8,
    "\uc870": 10**12,
    "\ucc9c": 10**3,
    "\ubc31": 10**2,
}
_HAN_POINT = "\u70b9\u9ede"
_HAN_SIGNS = "".join([*_HAN, *_HAN_TENS, *_HAN_LARGE])
HAN = lazy_pattern(
    rf"(?:[{_HAN_SIGNS}{_HAN_POINT}]|(?<![\d.,])\d[\d,]*(?:\.\d+)?(?=\s*[{_HAN_SIGNS}])\s*"
    rf"|(?<=[{_HAN_SIGNS}])\d+(?:\.\d+)?)+"
)


def han(text: str) -> Fraction | None:
    """The value of Chinese, Japanese and Korean numerals, digits between them allowed; None for
    anything else.

    >>> han("\u4e8c\u5341\u4e09")
    Fraction(23, 1)
    >>> han("3\u4e075\u5343")
    Fraction(35000, 1)
    >>> han("1.2\u5104")
    Fraction(120000000, 1)
    >>> han("\u4e8c\u3007\u4e8c\u56db")
    Fraction(2024, 1)
    >>> han("\u767e\u4e8c\u70b9\u4e94")
    Fraction(205, 2)
    """
    tokens = re.findall(r"\d[\d,]*(?:\.\d+)?|\S", text)
    total = section = Fraction(0)
    number: Fraction | None = None
    for index, token in enumerate(tokens):
        if token[0].isdecimal():
            if number is not None:
                return None
            number = Fraction(token.replace(",", ""))
        elif token in _HAN:
            behind = index > 0 and tokens[index - 1] in _HAN
            number = (
                number * 10 if behind and number is not None else Fraction(0)
            ) + _HAN[token]
        elif token in _HAN_TENS:
            section += (1 if number is None else number) * _HAN_TENS[token]
            number = None
        elif token in _HAN_LARGE:
            whole = section + (number or 0)
            if not whole and _HAN_LARGE[token] >= 10**4:
                return None
            total = total + (whole or 1) * _HAN_LARGE[token]
            section = Fraction(0)
            number = None
        elif token in _HAN_POINT and index:
            digits = [_HAN.get(sign) for sign in tokens[index + 1 :]]
            if not digits or None in digits:
                return None
            behind_point = Fraction("0." + "".join(map(str, digits)))
            return total + section + (number or 0) + behind_point
        else:
            return None
    return total + section + (number or 0) if tokens else None
