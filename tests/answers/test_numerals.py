"""Numbers of many languages, against Babel's locales and slow writers of number words."""

from __future__ import annotations

import sys
import unicodedata
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.answers.numerals import (
    DecimalMark,
    han,
    plain_signs,
    words,
    written,
)
from synth.answers.reading import read
from tests.tables import cells, table

DIGITS = [
    chr(code)
    for code in range(0x80, sys.maxunicode + 1)
    if unicodedata.category(chr(code)) == "Nd"
]
# Not de_CH: Babel 2.19.0 writes 1000000'000.00 there, which nobody does.
LOCALES = cells(
    r"""
'en' | 'de' | 'fr' | 'es' | 'it' | 'nl' | 'pt_BR' | 'sv' | 'pl' | 'ru' | 'da' | 'fi'
'hi' | 'bn' | 'th' | 'ja' | 'tr' | 'cs' | 'uk' | 'id' | 'vi'
"""
)


@settings(max_examples=80)
@given(st.sampled_from(LOCALES), st.decimals(0, 10**12, places=2))
def test_numbers_as_babel_writes_them(name, value):
    numbers = pytest.importorskip("babel.numbers")
    text = numbers.format_decimal(value, format="#,##0.00", locale=name)
    if name in ("hi", "bn"):
        text = numbers.format_decimal(value, format="#,##,##0.00", locale=name)
    mark: DecimalMark = "," if text[-3] == "," else "."
    assert written(plain_signs(text), mark).value == Fraction(value)
    assert read(text, mark).number == Fraction(value)


@given(st.integers(0, 10**15), st.integers(0, len(DIGITS) // 10 - 1))
def test_digits_of_other_scripts_have_their_value(value, script):
    zero = 10 * script
    text = "".join(DIGITS[zero + int(digit)] for digit in str(value))
    assert written(plain_signs(text)).value == int(text) == value
    assert read(f"{text}.").number == value


def test_every_digit_of_unicode_is_read():
    assert len(DIGITS) > 600
    for digit in DIGITS:
        assert plain_signs(digit) == str(unicodedata.digit(digit)), digit


@given(st.text(max_size=30))
def test_plain_signs_are_plain_at_once(text):
    once = plain_signs(text)
    assert plain_signs(once) == once


@pytest.mark.parametrize(
    ("text", "decimal", "value", "other", "listed"),
    [
        *table(
            r"""
'1.234' | ',' | 1234 | None | False
'1.234.567' | '' | 1234567 | None | False
'12,34,567' | '' | 1234567 | None | False
'007' | '' | 7 | None | False
"""
        ),
        ("1.234", "", "1234/1000", 1234, False),
        ("1,234", "", 1234, "1234/1000", False),
        ("1.234", ".", "1234/1000", None, False),
        ("1,234", ",", "1234/1000", None, False),
        ("1,5", "", "3/2", None, True),
        ("1,5", ",", "3/2", None, False),
        ("1.234.567,8", "", "12345678/10", None, False),
        ("1'234.5", "", "12345/10", None, False),
        ("1 234,5", "", "12345/10", None, False),
        ("1_000_000", "", 10**6, None, False),
        (".5", "", "1/2", None, False),
        ("1,234.5", "", "12345/10", None, False),
        ("0.123", "", "123/1000", None, False),
        ("0,123", "", "123/1000", None, True),
    ],
)
def test_marks_between_digits(text, decimal, value, other, listed):
    exact = None if other is None else Fraction(other)
    assert written(text, decimal) == (Fraction(value), exact, listed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ",",
        "-5",
        "+5",
        "1.",
        "1,",
        "12 34",
        "1 2345",
        "1,2345.6",
        "1.234,5,6",
        "1__000",
        "0 123",
        "1e5",
        "a",
        "1.2.3",
        "1,23,4",
        "1''234",
        "9" * 513,
    ],
)
def test_what_is_no_number(text):
    assert written(text) is None


ONES = cells(
    r"""
'zero' | 'one' | 'two' | 'three' | 'four' | 'five' | 'six' | 'seven' | 'eight' | 'nine' | 'ten'
'eleven' | 'twelve' | 'thirteen' | 'fourteen' | 'fifteen' | 'sixteen' | 'seventeen' | 'eighteen'
'nineteen'
"""
)
TENS = cells(
    r"""
'_' | '_' | 'twenty' | 'thirty' | 'forty' | 'fifty' | 'sixty' | 'seventy' | 'eighty' | 'ninety'
"""
)
SCALES = [
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
    (1000, "thousand"),
    (100, "hundred"),
]


def english(number: int, tie: str = "-", link: str = " ") -> str:
    """A number in words, the largest scale first."""
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens] + (tie + ONES[ones] if ones else "")
    size, name = next(scale for scale in SCALES if number >= scale[0])
    many, rest = divmod(number, size)
    said = f"{english(many, tie, link)} {name}"
    if not rest:
        return said
    return said + (link if rest < 100 else " ") + english(rest, tie, link)


@given(
    st.integers(0, 10**15 - 1) | st.integers(0, 2000),
    st.sampled_from(["-", " "]),
    st.sampled_from([" ", " and "]),
    st.sampled_from([str, str.upper, str.title]),
)
def test_english_words_are_read_back(number, tie, link, case):
    text = case(english(number, tie, link))
    assert words(text) == (number, "")
    assert words(f"minus {text} apples") == (-number, "apples")
    assert read(text).number == number


@given(st.integers(1, 99), st.integers(0, 9), st.integers(0, 9))
def test_decimals_in_words(whole, tenth, hundredth):
    text = f"{english(whole)} point {ONES[tenth]} {ONES[hundredth]} miles"
    exact = Fraction(f"{whole}.{tenth}{hundredth}")
    assert words(text) == (exact, "miles")


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        *table(
            r"""
'half a million' | 500000 | ''
'two dozen' | 24 | ''
'a dozen eggs' | 12 | 'eggs'
'one and a half million' | 1500000 | ''
'two and two' | 2 | 'and two'
'a hundred and one' | 101 | ''
'hundred' | 100 | ''
'thousand' | 1000 | ''
'twenty twenty' | 20 | 'twenty'
'one two' | 1 | 'two'
'five hundred thousand and six' | 500006 | ''
'three point' | 3 | 'point'
"""
        ),
        ("half", "1/2", ""),
        ("a quarter of it", "1/4", "of it"),
        ("three quarters", "3/4", ""),
        ("one third", "1/3", ""),
        ("two and a half", "5/2", ""),
        ("one and three quarters", "7/4", ""),
        ("one hundred lakh", 10**7, ""),
        ("negative half", "-1/2", ""),
        ("three fifths", "3/5", ""),
        ("two thousandths", "1/500", ""),
        ("a half", "1/2", ""),
    ],
)
def test_shapes_of_words(text, value, rest):
    assert words(text) == (Fraction(value), rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "and",
        "minus",
        "point five",
        "blue one",
        "a",
        "of",
        "onerous",
        "x" * 100 + " one",
    ],
)
def test_texts_that_begin_with_no_number(text):
    assert words(text) is None


SIGNS = "\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"
FORMAL = "\u96f6\u58f9\u8d30\u53c1\u8086\u4f0d\u9646\u67d2\u634c\u7396\u62fe\u4f70\u4edf"


def chinese_section(number: int) -> str:
    """One to 9999, with a zero for each gap."""
    said = ""
    for power, unit in ((3, "\u5343"), (2, "\u767e"), (1, "\u5341"), (0, "")):
        digit = number // 10**power % 10
        if digit:
            said += SIGNS[digit] + unit
        elif said and not said.endswith(SIGNS[0]) and number % 10**power:
            said += SIGNS[0]
    return said


def chinese(number: int) -> str:
    """A number below 10^12 in Chinese numerals."""
    if not number:
        return SIGNS[0]
    said = ""
    for size, unit in ((10**8, "\u4ebf"), (10**4, "\u4e07"), (1, "")):
        section = number // size % 10**4
        if not section:
            continue
        if said and section < 1000:
            said += SIGNS[0]
        said += chinese_section(section) + unit
    return said


@given(st.integers(0, 10**12 - 1) | st.integers(0, 10**5))
def test_chinese_numerals_are_read_back(number):
    text = chinese(number)
    assert han(text) == number
    assert read(text).number == number
    formal = text.translate(str.maketrans(SIGNS + "\u5341\u767e\u5343", FORMAL))
    assert han(formal) == number


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_chinese_decimals_and_digits_one_by_one(number, decimals):
    digits = "".join(SIGNS[int(digit)] for digit in str(decimals))
    text = f"{chinese(number)}\u70b9{digits}"
    assert han(text) == Fraction(Decimal(f"{number}.{decimals}"))
    assert han(digits) == decimals


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *table(
            r"""
'5\u4e07' | 50000
'1.5\u4ebf' | 150000000
'3\u53435\u767e' | 3500
'2,500\u4e07' | 25000000
'\u5341' | 10
'\u4e07' | None
'\u4ebf' | None
'' | None
'5' | 5
'5 5' | None
'\u70b9\u4e94' | None
'\u4e94\u70b9' | None
'\u4e94x' | None
'\u4e94\u70b9x' | None
'\u4e24\u5343' | 2000
'3\ub9cc 5\ucc9c' | 35000
"""
        ),
        ("\u767e\u4e07", 10**6),
        ("1\uc5b5", 10**8),
    ],
)
def test_mixed_and_broken_numerals(text, value):
    assert han(text) == value
