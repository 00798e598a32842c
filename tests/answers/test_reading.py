"""Laws of values: symmetry, one key for what is equal, sets without order, Python's rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.equal import (
    canonical,
    close,
    number,
    same,
    same_answer,
    votes,
)
from synth.answers.reading import read
from tests.tables import cells, table

PIECES = cells(
    r"""
'5' | '1,234' | '1.5' | 'km' | '$' | '%' | ' ' | 'million' | 'half' | 'and' | '{' | '}' | '('
')' | ',' | ';' | '[' | 'x' | '=' | '\\frac{1}{2}' | '^2' | '-' | 'yes' | 'the' | '(b)' | '3:30'
'pm' | 'May 5' | 'inf' | '\u4e94' | '\xbd' | '~' | '!' | '.'
"""
)
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
WHOLE = st.integers(-(10**6), 10**6)


@given(ANSWERS, ANSWERS)
def test_agreement_has_no_direction(one, other):
    assert same(read(one), read(other)) == same(read(other), read(one))


@given(ANSWERS)
def test_an_answer_agrees_with_itself_and_white_space_around_it(answer):
    assert same_answer(answer, answer)
    assert same(read(answer), read(answer)) is True
    assert same_answer(answer, f"  {answer}\n")


@given(st.lists(WHOLE, min_size=2, max_size=6), st.randoms())
def test_a_set_has_neither_order_nor_doubles(numbers, random):
    turned = numbers * 2
    random.shuffle(turned)
    one = "{" + ", ".join(map(str, numbers)) + "}"
    other = "{" + ", ".join(map(str, turned)) + "}"
    assert canonical(one) == canonical(other)
    more = "{" + ", ".join(map(str, [*numbers, 10**7])) + "}"
    assert not same_answer(one, more)


@given(st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-3))
def test_a_float_is_close_to_what_python_rounds_it_to(value):
    for digits in (12, 15, 17):
        rounded = Fraction(f"{value:.{digits}g}")
        assert close(Fraction(value), rounded)
    off = Fraction(f"{value * 1.001:.6g}")
    assert not close(Fraction(value), off) or off == Fraction(value)


@given(st.integers(1, 999), st.integers(2, 6))
def test_a_rounded_decimal_is_its_fraction_and_no_neighbour(top, places):
    exact = Fraction(top, 7)
    if exact.denominator == 1:
        return
    rounded = Fraction(f"{top / 7:.{places + 6}f}")
    assert close(rounded, exact)
    neighbour = rounded + Fraction(2, 10**places)
    assert not close(neighbour, exact)


@given(st.lists(ANSWERS | st.none(), max_size=6), st.randoms())
def test_votes_do_not_depend_on_the_order_of_draws(answers, random):
    order = list(range(len(answers)))
    random.shuffle(order)
    turned = votes([answers[place] for place in order])
    assert turned == [votes(answers)[place] for place in order]
    assert [vote is None for vote in votes(answers)] == [
        a is None for a in answers
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *table(
            r"""
'Yes!' | 'yes'
'nope' | 'no'
'y' | 'yes'
'Infinity' | '=inf'
'-\u221e' | '=-inf'
'(B)' | 'b'
'3:2' | 'ratio =3:=2'
'\xb13' | 'set =-3; =3'
'[3]' | '[3]'
'An apple' | 'apple'
'the A' | 'a'
'a' | 'a'
'New-York' | 'new york'
'x^2 + 1' | 'x^2+1'
'C++' | 'c++'
'5-6' | 'range =5 =6'
'5 to 6 km' | 'range =5000 length =6000 length'
'5km to 6km' | 'range =5000 length =6000 length'
'10-20%' | 'range =1/10 =1/5'
'5-6 million' | 'range =5000000 =6000000'
'-5 km' | '=-5000 length'
'0x10' | '=16'
'-0xff' | '=-255'
'' | ''
' ' | ''
'...' | '...'
'?' | '?'
'3rd' | '3rd'
'x=5' | 'x=5'
'1 hour 30 minutes' | '=5400 time'
'12%' | '=3/25'
'3 percentage points' | '=3/100'
'US$5' | '=5'
"""
        ),
        ("5 ft 6 in", f"={Fraction('0.0254') * 66} length"),
        ("5 pounds", f"={5 * Fraction('0.45359237')} mass"),
    ],
)
def test_keys_of_answers(text, key):
    assert canonical(text) == key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *table(
            r"""
'about 5' | 5
'~ 5' | 5
'5 (about)' | 5
'almost 1,000 people' | 1000
'EUR 5' | 5
'5 EUR' | 5
'+5' | 5
'- 5' | -5
'--5' | 5
'$-5' | -5
'-$-5' | None
'5.' | 5
'5,' | 5
'1e3' | 1000
'2 dozen eggs' | 24
'x = 5' | None
'five' | 5
'5 or 6' | None
'1,2,3' | None
'5 x' | None
'5 minutes ago!' | None
'12 + x' | None
'5 square feet' | 5
"""
        ),
        ("-$1,200.50", Fraction(-2401, 2)),
        ("\u767e\u5206\u4e4b\u4e94", Fraction(1, 20)),
        ("\u4e8c\u5206\u4e4b\u4e00", Fraction(1, 2)),
        ("1/2 cup", Fraction(1, 2)),
        ("3 1/2 hours", Fraction(7, 2)),
    ],
)
def test_numbers_of_answers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("one", "other"),
    table(
        r"""
'noon' | '12 pm'
'noon' | '12:00'
'midnight' | '12 am'
'midnight' | '00:00'
'5-6%' | '5% to 6%'
'$5-6' | '5-6'
'2-3k' | '2,000 to 3,000'
"""
    ),
)
def test_spellings_of_times_and_ranges(one, other):
    assert same_answer(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    table(
        r"""
'noon' | '12 am'
'noon' | 'midnight'
'midnight' | '12:00 pm'
'10-20%' | '9.8'
'10-20%' | '10-20'
'5-6 km' | '5-6 m'
'5-6 million' | '5-6'
'0000-01-01' | '2000-01-01'
"""
    ),
)
def test_other_times_and_ranges(one, other):
    assert not same_answer(one, other)
    assert not same_answer(other, one)


def test_long_texts_have_a_key_and_no_number():
    long = "5 " * 300
    assert number(long) is None
    assert canonical(long) == " ".join(["5"] * 300)
    assert same_answer(long, long.upper())
    assert not same_answer(long, long + "6")


def test_a_quantity_with_a_unit_meets_a_bare_number_and_no_noun():
    assert same_answer("5 km", "5")
    assert same(read("5 km"), read("5 apples")) is None
    assert same(read("5 apples"), read("5 pears")) is None
    assert same(read("5 red apples"), read("5 apples")) is True
    assert same(read("5 boxes"), read("5 box")) is True
