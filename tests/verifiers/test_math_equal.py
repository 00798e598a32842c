from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.equal import canonical, number, same_answer
from synth.answers.expression import evaluate
from synth.verifiers.math_equal import MathEqual


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
        lambda c: st.tuples(c, st.sampled_from("+-*"), c).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        max_leaves=8,
    )
)
def test_expressions_have_pythons_value(text):
    assert evaluate(text) == eval(text)  # noqa: S307 - digits, brackets and operators of our own making


SAME = [
    ("2,1", "1,2"), ("1,2", r"\{1,2\}"), ("{1, 2, 2}", r"\left\{ 2, 1 \right\}"), ("three", "3"), ("twenty-five", "25"), ("one hundred and five", "105"),
    ("\u22125", "-5"), ("(A)", "A"), ("Option b.", "(B)"), ("The answer is C", "c)"), ("Yes", "yes."), ("No!", "no"), ("3 1/2", "3.5"),
    (r"3\frac12", "7/2"), (r"$\dfrac{3}{4}$", "0.75"), ("1e3", "1000"), (r"1.0\times10^2", "100"), (r"1.0 \times 10^{2}", "100"), (r"\boxed{12}", "12"),
    (r"\text{12 apples}", "12"), (r"50\%", "0.5"), (r"\$18", "18"), (r"\frac{\frac{1}{2}}{2}", "0.25"), (r"90^\circ", "90"), (r"2^{10}", "1024"),
    ("March 5, 2024", "2024-03-05"), ("5th of March 2024", "Mar. 5 2024"), ("(1, 2)", r"\left(1,2\right)"), ("[1, 1/2]", "[1.0, 0.5]"), ("two million", "2,000,000"),
    ("2 thirds", "2 thirds"), ("-1/2", r"-\frac{1}{2}"), ("-3 1/2", "-3.5"), ("\uff11\uff12", "12"), ("1 200", "1 200"), ("**73**", "73"),
]  # fmt: skip
OTHER = [
    ("(1, 2)", "(2, 1)"), ("(1, 2)", "{1, 2}"), ("A", "B"), ("yes", "no"), ("2024-03-05", "2024-05-03"), ("three", "four"), ("1,200", "1,2"), ("3 1/2", "31/2"),
    ("{1, 2}", "{1, 3}"), ("a, b", "b, a"), ("1/3", "0.3333"), (r"\frac{1}{2}", "2"), ("1e3", "1e4"), ("2024-13-45", "2024-12-45"), ("12 dogs", "13 dogs"),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SAME)
def test_spellings_of_one_answer_are_one_vote(left, right):
    assert canonical(left) == canonical(right)
    assert same_answer(left, right)
    assert same_answer(right, left)


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_other_answers_stay_others(left, right):
    assert canonical(left) != canonical(right)


def test_hostile_answers_cost_little():
    import time

    started = time.process_time()
    for text in (
        r"\frac" * 100, "{" * 500, "1," * 250, r"\text{" * 80 + "}" * 80, "(" * 250 + ")" * 250, "9^" * 200 + "9", "1e999999999", "one " * 120,
        r"\frac{" * 60 + "1" + "}{2}" * 60, "10^10^10", "3 1/2 " * 80, "a" * 100_000, "{" + "{1}," * 100 + "}", "\\" * 500, "$" * 500, "**" * 250,
    ):  # fmt: skip
        canonical(text)
    assert time.process_time() - started < 2
