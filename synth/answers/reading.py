"""The one reader of answers: a text -> its value."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from synth.answers.expression import MOST_CHARS, evaluate
from synth.answers.numerals import (
    HAN,
    NUMBER_WORD,
    NUMBER_WORDS,
    DecimalMark,
    Written,
    han,
    plain_signs,
    words,
    written,
)
from synth.answers.spelling import (
    LETTERED,
    bare,
    clock,
    day,
    matrix,
    option,
    plain,
)
from synth.answers.units import SIGNS, Unit, behind, leading_unit
from synth.core.patterns import lazy_pattern

# What is read without looking further, at most so many signs of it.
_GLANCE = 200
_PRICE = lazy_pattern(
    r"(-?)([$\u20ac\u00a3]?)((?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)"
)
_UNIT_OF_SIGN = {
    "": None,
    **{sign: leading_unit(sign)[0] for sign in "$\u20ac\u00a3"},
}
_LONE = lazy_pattern(r"[1-9]\d{0,2}[.,]\d{3}")
_ARITHMETIC = lazy_pattern(r"(?=.*(?:\(| [-+*/] ))[-\d.(][\d\s+*/().-]*")
_WORDS = lazy_pattern(r"[A-Za-z]{2,}(?:[ '-][A-Za-z]+)*\.?")
_YES = {
    "yes": "yes",
    "y": "yes",
    "yeah": "yes",
    "yep": "yes",
    "no": "no",
    "n": "no",
    "nope": "no",
}
_INFINITE = {
    **dict.fromkeys(("inf", "infinity", "+inf", "+infinity"), "inf"),
    **dict.fromkeys(
        ("-inf", "-infinity", "minusinfinity", "negativeinfinity"), "-inf"
    ),
}
_ABOUT = lazy_pattern(
    r"(?:~|(?:approximately|approx\.?|about|around|roughly|nearly|almost|circa|ca\.)\s)\s*(?=\S)",
    re.IGNORECASE,
)
_COMMENT = lazy_pattern(
    r"(.*[^\s(])\s*\((?![^()]*\d)([^()]*[^\W\d_]{2}[^()]*)\)", re.DOTALL
)
_MONEY = (
    rf"(?:(?:US|CA|AU|C|A)?[{re.escape(SIGNS)}]|(?:USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|CAD|AUD"
    r"|Rs\.?)(?=[\s\d]))"
)
_AMOUNT = lazy_pattern(
    rf"([-+]?)\s*({_MONEY})?\s*([-+]?)\s*(\d+(?:[.,'_ ]\d+)*|\.\d+)\s*(.*)",
    re.DOTALL,
)
_LETTER = lazy_pattern(r"[^\W\d_]|\u00b0")
_HAN_AMOUNT = lazy_pattern(rf"({_MONEY})?\s*({HAN.pattern})")
_HAN_PARTS = lazy_pattern(rf"({HAN.pattern})\u5206\u4e4b([\d.]+|{HAN.pattern})")
# An x that stands for a number, not for times.
_UNKNOWN = lazy_pattern(r"\d[xX]\s*(?:[-+=/^*)]|$)")
_HEX = lazy_pattern(r"(-?)0x([0-9a-f]{1,64})", re.IGNORECASE)
_PERCENT = lazy_pattern(
    r"(?:%|per\s?cent\b|pct\b\.?|percentage points?\b)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_RANGE = lazy_pattern(
    r"(\S*?\d\S*?)\s*(?:\u2013|\u2014|\bto\b|(?<=\d)-(?=\d))\s*(\S*\d\S*)((?:\s+[^\W\d_]+)?)",
    re.IGNORECASE,
)
_BEHIND_DIGITS = lazy_pattern(r"\D*[\d.,]*")
_NAMED_VALUE = lazy_pattern(
    r"\\?[a-zA-Z]{1,2}(?:_\w)?(?:\([a-z]\))?\s*=\s*([^=<>]+)"
)
_ORDINAL = lazy_pattern(r"(\d+)(?:st|nd|rd|th)")
_PLUS_MINUS = lazy_pattern(r"(?:[a-zA-Z]\s*=\s*)?\u00b1\s*(.+)")
_LIST = lazy_pattern(
    r"(?P<set>\{(.*)\})|(?P<open>[(\[])(.*[,;].*)(?P<close>[)\]])"
    r"|(?P<bare>[^{}()\[\]]*(?:[,;]|\sand\s)[^{}()\[\]]*)",
    re.DOTALL,
)
_ONE_IN_BRACKETS = lazy_pattern(r"\[([^\[\],;]+)\]")
_RATIO = lazy_pattern(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+")
_FORMULA = lazy_pattern(
    r"[\\^=<>+*/\u221a\u00b1{}|]|(?<=\w)-(?=\d)|(?<![a-z])pi(?![a-z])"
)
_NO_SENSE = lazy_pattern(
    '["\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d`*_?!;\u2026\u00bf\u00a1\u3002]'
)
# Words that may make a text more than words: the long way then looks.
_MEANS = frozenset(
    (
        *NUMBER_WORDS,
        *_YES,
        *_INFINITE,
        "noon",
        "midday",
        "midnight",
        "minus",
        "negative",
        "about",
        "around",
        "approximately",
        "roughly",
        "nearly",
        "almost",
        "circa",
        "answer",
        "result",
        "option",
        "choice",
        "and",
        "to",
        "percent",
        "pi",
        "sqrt",
        "am",
        "pm",
    )
)
_ARTICLES = ("the", "an", "a")
_ARTICLE = lazy_pattern(r"^(?:the|an?)\s+(?=\w{3})")
_MARKS = lazy_pattern(r"(?<!\d)[.,:]|[.,:](?!\d)")
_HYPHENS = lazy_pattern(r"(?<=[^\W\d_])-(?=[^\W\d_])")


class Value(NamedTuple):
    """What an answer is worth.

    Attributes:
        key: one text for all its spellings.
        number: its exact value, None where it is no number; in its own `unit`.
        unit: of measure or currency.
        nouns: what is counted, where it is no unit.
        also: other readings that are as good.
        perhaps: what the number is in a language that marks decimals otherwise.
    """

    key: str
    number: Fraction | None = None
    unit: Unit | None = None
    nouns: frozenset[str] = frozenset()
    also: tuple[Value, ...] = ()
    perhaps: Fraction | None = None


@lru_cache(maxsize=8192)
def read(text: str, decimal: DecimalMark = "") -> Value:
    r"""The value of an answer: number, quantity, expression, day, time, choice, yes or no, set,
    list, matrix, else folded text.

    Args:
        text: the answer as it is written.
        decimal: the mark before decimals, where the language of the text is known.

    >>> read("1,200 dollars").number
    Fraction(1200, 1)
    >>> read(r"\dfrac{3}{4}").number
    Fraction(3, 4)
    >>> read("1.2 million").number
    Fraction(1200000, 1)
    >>> read("Paris.").key
    'paris'
    """
    if (value := _at_a_glance(text)) is not None and not decimal:
        return value
    whole = plain_signs(text[: MOST_CHARS + 1]).strip()
    if len(whole) > MOST_CHARS:
        return Value(_folded(plain_signs(text)))
    answer = bare(whole)
    return _value(answer, decimal) or Value(
        _folded(answer) or _folded(whole) or whole.casefold()
    )


def _at_a_glance(text: str) -> Value | None:
    """The value of what most answers are: a plain number or price, arithmetic, words without a
    meaning of their own.
    """
    if len(text) > _GLANCE:
        return None
    if match := _PRICE.fullmatch(text):
        sign, money, digits = match.groups()
        unit = _UNIT_OF_SIGN[money]
        if digits.isdecimal():
            return number_value(Fraction(int(sign + digits)), unit)
        value = Fraction(sign + digits.replace(",", ""))
        other = None
        if _LONE.fullmatch(digits):
            other = value / 1000 if "," in digits else value * 1000
        return number_value(value, unit, perhaps=other)
    if _WORDS.fullmatch(text):
        tokens = text.casefold().rstrip(".").replace("-", " ").split()
        if not _MEANS.isdisjoint(tokens) or (
            len(tokens[-1]) == 1 and len(tokens) < 3
        ):
            return None
        return Value(
            " ".join(
                tokens[1:]
                if tokens[0] in _ARTICLES
                and len(tokens) > 1
                and len(tokens[1]) > 2
                else tokens
            )
        )
    if _ARITHMETIC.fullmatch(text) and (computed := evaluate(text)) is not None:
        return Value(f"={computed}", computed)
    return None


def _joined(cells: list[str], decimal: DecimalMark) -> str:
    """The values of one row of a matrix."""
    return ", ".join(read(cell, decimal).key for cell in cells)


def _value(text: str, decimal: DecimalMark) -> Value | None:
    """The value of a bare text that is more than words, or None."""
    if not text:
        return None
    if len(text) <= 40 and (value := _word(text)):
        return value
    if (cells := matrix(text)) is not None:
        rows = [_joined(row, decimal) for row in cells]
        return Value(f"matrix {'; '.join(rows)}")
    about = _ABOUT.match(text)
    if about and (value := _numeric(text[about.end() :], decimal)):
        return value
    if value := _numeric(text, decimal):
        return value
    if (comment := _COMMENT.fullmatch(text)) and (
        value := _value(comment[1].strip(), decimal)
    ):
        return (
            value
            if value.number is not None
            else Value(_folded(text), also=(value,))
        )
    return _other(text, decimal)


def _word(text: str) -> Value | None:
    """Yes and no, a letter, infinity, a day, a time."""
    low = text.casefold().strip(" .!")
    if low in _YES:
        return Value(_YES[low])
    if ("inf" in low or "\u221e" in low) and (
        endless := _INFINITE.get(plain(low).replace(" ", ""))
    ):
        return Value(f"={endless}")
    if letter := option(text):
        return Value(letter)
    if (value := day(text)) is not None:
        return Value(value)
    if (time := clock(text)) is not None:
        return Value(
            time[0], also=(Value(time[1]),) if time[0] != time[1] else ()
        )
    return None


def _numeric(text: str, decimal: DecimalMark) -> Value | None:
    """A number, a quantity, an expression with a value; None for anything else."""
    if not _may_have_value(text):
        return None
    if hexadecimal := _HEX.fullmatch(text):
        return number_value(Fraction(int(hexadecimal[1] + hexadecimal[2], 16)))
    if (value := _range(text, decimal)) is not None:
        return value
    if not text.isascii() and (value := _in_han(text)):
        return value
    for spelled in dict.fromkeys((text, plain(text))):
        value = _quantity(spelled, decimal) or _expression(spelled, decimal)
        if value is not None:
            return value
    return _in_words(text)


def _may_have_value(text: str) -> bool:
    return (
        any(map(str.isdigit, text))
        or NUMBER_WORD.search(text) is not None
        or (not text.isascii() and HAN.search(text) is not None)
    )


def number_value(
    value: Fraction,
    unit: Unit | None = None,
    nouns: frozenset[str] = frozenset(),
    **more: object,
) -> Value:
    """The value of a number; dollars and degrees are what bare numbers mostly mean, so that their
    key is the number's.
    """
    if unit is None or (unit.dimension in ("usd", "angle") and unit.size == 1):
        return Value(f"={value}", value, unit, nouns, **more)  # type: ignore[arg-type]
    key = f"={value * unit.size} {unit.dimension}"
    return Value(key, value, unit, nouns, **more)  # type: ignore[arg-type]


def _quantity(text: str, decimal: DecimalMark) -> Value | None:
    """Sign, currency, digits with marks, scale, unit."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    sign, money, second, digits, tail = match.groups()
    number = written(digits, decimal)
    if number is None or (sign and second):
        return _two_parts(text, decimal) if number is None or tail else None
    factor = Fraction(-1 if "-" in (sign, second) else 1)
    glued = not text[: match.start(5)].endswith(" ")
    return _with_tail(
        number.value * factor,
        number.other,
        tail,
        money or "",
        glued=glued,
        listed=number.listed,
    ) or (_two_parts(text, decimal) if any(map(str.isdigit, tail)) else None)


def _with_tail(
    value: Fraction,
    other: Fraction | None,
    tail: str,
    money: str,
    *,
    glued: bool,
    listed: bool = False,
) -> Value | None:
    """A number with what stands behind it."""
    unit = leading_unit(money.strip(". "))[0] if money else None
    if listed and not (money or tail):
        return None
    if not tail:
        return number_value(value, unit, perhaps=_signed(other, value))
    if (percent := _PERCENT.match(tail)) and (
        not percent[1] or behind(percent[1], glued=False) is not None
    ):
        return number_value(value / 100, perhaps=None)
    if (comment := _COMMENT.fullmatch(f"0 {tail}")) is not None:
        tail = comment[1].removeprefix("0").strip()
    suffix = behind(tail, glued=glued, money=bool(money)) if tail else None
    if suffix is None:
        return number_value(value, unit) if not tail else None
    if unit and suffix.unit and suffix.unit != unit:
        return None
    also: tuple[Value, ...] = ()
    if suffix.unit is not None and suffix.unit == leading_unit("pound")[0]:
        also = (number_value(value * suffix.scale, Unit("gbp", Fraction(1))),)
    perhaps = _signed(other, value)
    return number_value(
        value * suffix.scale,
        unit or suffix.unit,
        suffix.nouns,
        also=also,
        perhaps=perhaps * suffix.scale if perhaps is not None else None,
    )


def _signed(other: Fraction | None, value: Fraction) -> Fraction | None:
    return other if other is None or value >= 0 else -other


_PART = lazy_pattern(
    r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]+\.?)\s*(?:,|and\b)?\s*", re.IGNORECASE
)


def _two_parts(text: str, decimal: DecimalMark) -> Value | None:
    """`1 hour 30 minutes`, `5 ft 6 in`: parts of one dimension, each smaller than the one
    before.
    """
    parts = list(_PART.finditer(text))
    if len(parts) < 2 or "".join(part[0] for part in parts) != text:
        return None
    numbers = [written(part[1], decimal) for part in parts]
    units = [leading_unit(part[2])[0] for part in parts]
    if any(number is None for number in numbers) or any(
        unit is None for unit in units
    ):
        return None
    sizes = [unit for unit in units if unit is not None]
    falling = all(left.size > right.size for left, right in pairwise(sizes))
    if not falling or len({unit.dimension for unit in sizes}) > 1:
        return None
    total = sum(
        (
            number.value * unit.size
            for number, unit in zip(numbers, sizes, strict=True)
            if number
        ),
        Fraction(0),
    )
    return number_value(total / sizes[0].size, sizes[0])


def _expression(text: str, decimal: DecimalMark) -> Value | None:
    """Arithmetic, with a unit or nouns behind it."""
    if _UNKNOWN.search(text):
        return None
    value = evaluate(text) if decimal != "," else None
    if value is not None:
        return number_value(value)
    letter = _LETTER.search(text)
    if letter is None or not letter.start():
        return None
    head = text[: letter.start()].rstrip()
    tail = text[letter.start() :]
    money = head.lstrip("-+ (")[:1]
    value = evaluate(head)
    if value is None:
        return None
    return _with_tail(
        value,
        None,
        tail,
        money if money in SIGNS else "",
        glued=text[letter.start() - 1] not in " )",
    )


def _range(text: str, decimal: DecimalMark) -> Value | None:
    """`5-6`, `5 to 6`: two numbers, the smaller one first; a hyphen between spaces is a minus."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = match[1]
    last = match[2] + match[3]
    if first[-1].isdigit():
        # "10-20%", "5 to 6 million": what is behind the second number is meant of both.
        first += _BEHIND_DIGITS.sub("", last, count=1)
    low = _quantity(first, decimal)
    high = _quantity(last, decimal)
    if (
        low is None
        or high is None
        or low.number is None
        or high.number is None
        or low.number >= high.number
        or low.number < 0
    ):
        return None
    return Value(f"range {low.key} {high.key}")


def _in_words(text: str) -> Value | None:
    """Number words; with nouns behind them the text stays a text that is also a number."""
    number_words = words(text)
    if number_words is None:
        return None
    value, rest = number_words
    if not rest:
        return number_value(value)
    valued = _with_tail(value, None, rest, "", glued=False)
    if (
        valued is None
        or valued.unit is not None
        or rest.casefold().startswith(("percent", "per cent"))
    ):
        return valued
    return Value(_folded(text), also=(valued,))


def _in_han(text: str) -> Value | None:
    """Chinese, Japanese and Korean numerals, a currency before them or a counter behind them."""
    if parts := _HAN_PARTS.fullmatch(text):
        bottom = Fraction(100) if parts[1] == "\u767e" else han(parts[1])
        top = written(parts[2]) or han(parts[2])
        value = top.value if isinstance(top, Written) else top
        return (
            number_value(value / bottom)
            if value is not None and bottom
            else None
        )
    match = _HAN_AMOUNT.match(text)
    value = han(match[2].strip()) if match else None
    if match is None or value is None:
        return None
    rest = text[match.end() :].strip()
    with_digits = bool(rest) and any(map(str.isdigit, match[2]))
    valued = _with_tail(value, None, rest, match[1] or "", glued=False)
    if valued is None or not rest or valued.unit or with_digits:
        return valued
    return Value(_folded(text), also=(valued,))


def _other(text: str, decimal: DecimalMark) -> Value | None:
    """Sets, lists, named values, letters before a text, ordinals; None for plain words."""
    spelled = plain(text) if len(text) <= MOST_CHARS else text
    if plus := _PLUS_MINUS.fullmatch(spelled):
        value = read(plus[1], decimal)
        if value.number is not None:
            return Value(
                f"set {'; '.join(sorted({f'={value.number}', f'={-value.number}'}))}"
            )
    if (several := _collection(spelled, decimal)) is not None:
        return several
    if alone := _ONE_IN_BRACKETS.fullmatch(spelled):
        return Value(_folded(spelled), also=(read(alone[1], decimal),))
    if _RATIO.fullmatch(spelled):
        return Value(
            "ratio "
            + ":".join(read(part.strip()).key for part in spelled.split(":"))
        )
    named = _NAMED_VALUE.fullmatch(spelled)
    if named and (value := read(named[1], decimal)).number is not None:
        return Value(_folded(spelled), also=(value,))
    if lettered := LETTERED.fullmatch(text):
        return Value(
            _folded(text),
            also=(
                read(lettered[3], decimal),
                Value((lettered[1] or lettered[2]).casefold()),
            ),
        )
    if ordinal := _ORDINAL.fullmatch(text):
        return Value(
            _folded(text), also=(number_value(Fraction(int(ordinal[1]))),)
        )
    return (
        Value(_folded(spelled))
        if _FORMULA.search(text) or spelled != text
        else None
    )


def _collection(text: str, decimal: DecimalMark) -> Value | None:
    """Sets (braces, or a bare list of numbers) without order or doubles; tuples, lists and
    intervals in order, with their brackets.
    """
    match = _LIST.fullmatch(text)
    if match is None:
        return None
    inside = next(
        group
        for group in (match[2], match[4], match["bare"])
        if group is not None
    )
    if "{" in inside or "}" in inside:
        return None
    pairs = match["bare"] is not None or match["set"] is not None
    separator = r"\s*,\s*"
    if ";" in inside:
        separator = r"\s*;\s*"
    elif pairs:
        separator = r"\s*,\s*(?:and\s+)?|\s+and\s+"
    parts = [
        read(part.strip(), decimal) for part in re.split(separator, inside)
    ]
    as_set = f"set {'; '.join(sorted({part.key for part in parts}))}"
    numbers = all(part.key.startswith("=") for part in parts)
    if match["set"] is not None:
        return Value(as_set, also=(parts[0],) if len(parts) == 1 else ())
    if match["bare"] is not None:
        if len(parts) < 2 or not all(part.key for part in parts):
            return None
        if not numbers:
            return (
                Value(_folded(text), also=(Value(as_set),))
                if "," in text or ";" in text
                else None
            )
        one = (
            written(text, decimal or ",")
            if re.fullmatch(r"\d+,\d+", text)
            else None
        )
        return Value(as_set, also=(number_value(one.value),) if one else ())
    kind = {"()": "tuple", "[]": "list"}.get(
        match["open"] + match["close"],
        f"interval {match['open']}{match['close']}",
    )
    ordered = f"{kind} {'; '.join(part.key for part in parts)}"
    return Value(ordered, also=(Value(as_set),) if kind == "list" else ())


def _folded(text: str) -> str:
    """Words without case, article and punctuation that says nothing; formulas without spaces."""
    low = text.casefold()
    if low.isascii() and low.replace(" ", "").isalpha():
        folded = " ".join(low.split())
        return (
            _ARTICLE.sub("", folded, count=1) if folded[0] in "at" else folded
        )
    if _FORMULA.search(low) and not re.search(
        r"[^\W\d_]{4}", low.replace("sqrt", "")
    ):
        return re.sub(r"\s+", "", low)
    low = _HYPHENS.sub(" ", _NO_SENSE.sub(" ", low))
    folded = " ".join(_MARKS.sub(" ", low).split()).strip(" '")
    return (
        _ARTICLE.sub("", folded, count=1)
        if folded[:1] in ("a", "t")
        else folded
    )
