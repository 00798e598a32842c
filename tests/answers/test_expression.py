"""Arithmetic is read as Python's fractions compute it, and refused where it has no value."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.answers.expression import (
    MOST_CHARS,
    MOST_DEPTH,
    NotArithmetic,
    evaluate,
    scan,
    to_fraction,
    value_of,
)
from tests.tables import cells, table

NUMBERS = st.integers(0, 99).map(str) | st.decimals(0, 99, places=2).map(str)
GAPS = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def sums(draw: st.DrawFn, depth: int = 3) -> str:
    """A text that Python reads as arithmetic too."""
    if depth == 0:
        return draw(NUMBERS)
    inner = sums(depth=depth - 1)
    shape = draw(st.integers(0, 5))
    if shape == 0:
        return f"({draw(inner)})"
    if shape == 1:
        return f"-{draw(inner)}"
    if shape == 2:
        return f"({draw(inner)})**{draw(st.integers(0, 3))}"
    gap = draw(GAPS)
    sign = draw(st.sampled_from("+-*/"))
    return f"{draw(inner)}{gap}{sign}{gap}{draw(inner)}"


def computed(text: str) -> Fraction | None:
    """The value by Python's own reader of expressions; None for a division by zero."""
    exact = ""
    for token in scan(text):
        is_number = token.kind == "number"
        spelt = "**" if token.text == "^" else token.text
        exact += f"Fraction('{spelt}')" if is_number else spelt
    try:
        value = eval(exact, {"Fraction": Fraction})  # noqa: S307 - made here
    except ZeroDivisionError:
        return None
    return Fraction(value)


@settings(max_examples=100)
@given(sums())
def test_it_computes_what_python_computes(text):
    wanted = computed(text)
    assert evaluate(text) == wanted


@given(sums())
def test_other_signs_of_an_operation_change_nothing(text):
    turned = text.replace("**", "^").replace("-", "\u2212")
    turned = turned.replace("*", "\u00d7").replace("/", "\u00f7")
    assert evaluate(turned) == evaluate(text)


@given(sums())
def test_tokens_stand_where_they_say(text):
    kept = "".join(text[token.start : token.end] for token in scan(text))
    assert kept == "".join(text.split())
    for token in scan(text):
        before = text[token.start - 1 : token.start]
        assert token.glued == (bool(before) and not before.isspace())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *table(
            r"""
'-2^2' | -4
'-2**2' | -4
'(-2)^2' | 4
'3 - -2^2' | 7
'2^3^2' | 512
'-(3)^2' | -9
'2 * -3^2' | -18
'--2' | 2
'+5' | 5
'50% * 8' | 4
'$5 + $3' | 8
'-$5' | -5
'1,234,567 - 1' | 1234566
'3 x 4' | 12
'3x4' | 12
'(3)x(4)' | 12
'3 X -4' | -12
'.5 * 4' | 2
'0^0' | 1
'7 \xb7 6' | 42
'6 \u22c5 7' | 42
'10 \u2013 4' | 6
'\xa53 * 2' | 6
'((((1))))' | 1
'8 / 2 / 2' | 2
'8 - 2 - 2' | 4
'2 + 3 * 4 ^ 2' | 50
"""
        ),
        ("2^-1", Fraction(1, 2)),
        ("2^-2^2", Fraction(1, 16)),
        ("5%", Fraction(1, 20)),
        ("(2 + 3)%", Fraction(1, 20)),
    ],
)
def test_precedence_signs_and_money(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'' | ' ' | 'x' | '5 + x' | '2x' | '2x - 3' | '5 +' | '+' | '(5' | '5)' | '()' | '5 5' | '1/0'
'1/(2-2)' | '0^-1' | '2^0.5' | '2^65' | '2^(1/2)' | '5 = 5' | '5%%' | '5!' | '1,23' | '3 x'
'3 x y' | '$' | '5 $' | '%' | '1.2.3' | 'nan' | 'inf' | '1e5' | '++' | '* 3' | '9^64^2'
"""
    ),
)
def test_what_has_no_value_has_none(text):
    assert evaluate(text) is None


def test_depth_length_and_size_have_ends():
    assert evaluate("(" * MOST_DEPTH + "1" + ")" * MOST_DEPTH) == 1
    deeper = MOST_DEPTH + 1
    assert evaluate("(" * deeper + "1" + ")" * deeper) is None
    assert evaluate("-" * (MOST_DEPTH - 1) + "1") == -1
    assert evaluate("-" * deeper + "1") is None
    assert evaluate("1+" * (MOST_CHARS // 2) + "1") is None
    assert evaluate("1" * MOST_CHARS) == Fraction("1" * MOST_CHARS)
    assert evaluate("1" * (MOST_CHARS + 1)) is None
    assert evaluate(f"{2**200}^64") == 2**12800
    assert evaluate(f"{2**300}^64") is None
    assert evaluate(f"(1/{2**300})^64") is None


def test_a_part_of_the_tokens_has_its_own_value():
    tokens = scan("So 2 + 3 = 5")
    kinds = [token.kind for token in tokens]
    assert kinds == ["other", "number", "op", "number", "equals", "number"]
    assert value_of(tokens[1:4]) == 5
    assert value_of(tokens[1:]) is None
    assert value_of([]) is None
    with pytest.raises(NotArithmetic, match="too many digits"):
        to_fraction("1" * 513)
