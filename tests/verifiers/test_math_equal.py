from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.verifiers._expression import evaluate
from synth.verifiers.math_equal import MathEqual, canonical, number, same_answer


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("26", "$26.00", True), ("1,200", "1200", True), ("(84 / 2)", "( 84.0 / 2.0 )", True), ("50%", "0.5", True),
        ("1/2", "0.5", True), (r"\frac{3}{4}", ".75", True), ("−7", "-7", True), ("26 eggs", "26", True), ("3", "4", False),
        ("2^3", "8", True), ("7 x 3", "21", True), ("blue", "26", None), ("5 + x", "10", None), ("1/0", "5", None),
        ("9^9^9^9", "1", None), ("(" * 300 + "1" + ")" * 300, "1", None), ("1" * 600, "1", None), ("**18**", "18", True),
    ],
)  # fmt: skip
def test_values(left, right, same):
    assert MathEqual().verify(left, right) is same
    assert MathEqual().verify(right, left) is same


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**4))
def test_written_fractions_are_exact(top, bottom):
    assert evaluate(f"{top} / {bottom}") == Fraction(top, bottom)
    assert number(f"{top:,}") == top


@given(st.text(max_size=60))
def test_every_text_equals_itself_and_nothing_hangs(text):
    assert same_answer(text, text)
    assert canonical(canonical(text)) == canonical(canonical(canonical(text)))


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda c: st.tuples(c, st.sampled_from("+-*"), c).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=8,
    )
)
def test_expressions_have_pythons_value(text):
    assert evaluate(text) == eval(text)  # noqa: S307 - digits, brackets and operators of our own making
