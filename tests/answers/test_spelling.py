"""Days, times, boxes and LaTeX: every spelling comes to one text."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.equal import same_answer
from synth.answers.expression import evaluate
from synth.answers.spelling import (
    bare,
    boxed,
    clock,
    day,
    matrix,
    plain,
)
from tests.tables import cells, table

DAYS = st.dates(dt.date(1000, 1, 1), dt.date(2999, 12, 31))
FORMS = cells(
    r"""
'%Y-%m-%d' | '%Y/%m/%d' | '%Y.%m.%d' | '%d.%m.%Y' | '%d %B %Y' | '%B %d, %Y' | '%b %d, %Y'
'%d %b %Y' | '%A, %B %d, %Y' | '%dth of %B, %Y' | '%B %dth %Y' | '%b. %d %Y' | 'the %d of %B %Y'
'%A %d %B %Y' | '%Y-%m-%dT00:00:00Z' | '%Y-%m-%d 00:00' | '%Y\u5e74%m\u6708%d\u65e5'
"""
)


@given(
    DAYS, st.sampled_from(FORMS), st.sampled_from([str, str.upper, str.lower])
)
def test_every_form_of_a_day_is_the_iso_day(date, form, case):
    text = date.strftime(form)
    if form[:3] != "%Y-":
        text = case(text)
    assert day(text) == f"date {date.isoformat()}"


@given(DAYS)
def test_a_day_between_strokes_is_read_where_it_can_be_one_day_only(date):
    text = f"{date.day}/{date.month}/{date.year:04}"
    turned = f"{date.month}/{date.day}/{date.year:04}"
    if date.day > 12 or date.day == date.month:
        assert day(text) == day(turned) == f"date {date.isoformat()}"
    else:
        assert day(text) == f"date {text}"
        assert day(text) != day(turned)


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'2023-02-29' | '31 April 2024' | '30 February' | '2024-13-01' | '2024-00-10' | '0000-01-01'
'32/13/2024' | 'March' | '5' | 'March 2024' | '5 Marchx 2024' | '2024-3-5x' | '' | '1/2'
'1/2/24' | 'May 32' | 'the fifth of March' | '20240305'
"""
    ),
)
def test_what_is_no_day(text):
    assert day(text) is None


def test_a_day_without_a_year_may_be_that_of_a_leap_year():
    assert day("29 February") == "date 02-29"
    assert day("Feb 29th") == "date 02-29"
    assert day("29 February 2023") is None
    assert day("Sept. 3") == "date 09-03"
    assert day("may 3rd") == "date 05-03"


TIMES = st.times().map(lambda time: time.replace(microsecond=0))


@given(TIMES)
def test_times_with_their_half_of_the_day_agree_with_the_clock_of_24_hours(
    time,
):
    whole = f"time {time:%H:%M:%S}"
    halves = [f"{time:%I:%M:%S %p}", f"{time:%I:%M:%S%p}".lower()]
    halves.append(halves[0].replace("AM", "a.m.").replace("PM", "p.m."))
    for text in halves:
        assert clock(text)[0] == whole
    assert whole in clock(f"{time:%H:%M:%S}")
    assert same_answer(halves[0], f"{time:%H:%M:%S}")


@pytest.mark.parametrize(
    ("text", "said"),
    table(
        r"""
'noon' | 'time 12:00'
'Midnight' | 'time 00:00'
'12 am' | 'time 00:00'
'12 pm' | 'time 12:00'
'12:30 a.m.' | 'time 00:30'
"9 o'clock am" | 'time 09:00'
'23:59' | 'time 23:59'
'00:00' | 'time 00:00'
'09:05' | 'time 09:05'
'13:00 hours' | 'time 13:00'
"""
    ),
)
def test_hours_of_the_day(text, said):
    assert clock(text)[0] == said


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'' | '5' | '24:00' | '12:60' | '13 pm' | '25:00' | '3:3' | 'noonish' | 'am' | '3.30' | '330'
'1:00:0' | '15:00 pm'
"""
    ),
)
def test_what_is_no_time(text):
    assert clock(text) is None


INSIDE = st.recursive(
    st.sampled_from(["x", "12", r"\frac", " ", r"\{", r"\}", "a b"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: "{" + "".join(parts) + "}"
    ),
    max_leaves=6,
)


@given(
    INSIDE, st.sampled_from(["boxed", "fbox"]), st.text("ab {}\\$", max_size=8)
)
def test_a_box_holds_what_its_braces_hold(inside, name, before):
    text = f"{before} \\{name}{{{inside}}} so"
    wanted = inside.strip()
    if not wanted.endswith("\\"):
        assert boxed(text) == (wanted or None)


@pytest.mark.parametrize(
    ("text", "inside"),
    table(
        r"""
'\\boxed{1} \\boxed{2}' | '2'
'\\boxed{1} \\boxed{}' | '1'
'\\boxed{1} \\boxed{2' | '1'
'\\boxed{\\boxed{3}}' | '3'
'\\boxed {4}' | '4'
'\\boxed{a\\}b}' | 'a\\}b'
'\\boxed' | None
'\\boxed{' | None
'' | None
'\\boxed{ }' | None
'boxed{5}' | None
"""
    ),
)
def test_the_last_box_that_holds_something(text, inside):
    assert boxed(text) == inside


WRAPPINGS = cells(
    r"""
'{}' | '**{}**' | '`{}`' | '"{}"' | "'{}'" | '\u201c{}\u201d' | '\\({}\\)' | '\\[{}\\]'
'\\boxed{{{}}}' | 'The answer is {}' | 'answer: {}.' | '__{}__' | '*{}*' | '<answer>{}</answer>'
'{}!' | 'So the final answer is: {}' | ' {} ;' | '{}.,' | '\xab{}\xbb' | '_{}_'
"""
)


@given(
    st.sampled_from(["Paris", "red pen", "x y", "42", "3/4", "a-b"]),
    st.lists(st.sampled_from(WRAPPINGS), max_size=3, unique=True),
)
def test_wrappings_come_off_in_any_order(inside, around):
    text = inside
    for wrapping in around:
        text = wrapping.format(text)
    if any(map(str.isdigit, inside)):
        text = text.replace("!", "")
    assert bare(text) == inside


@given(st.text("ab5!.*_`'\"$\\(){}", max_size=20))
def test_a_bare_text_is_bare(text):
    once = bare(text)
    assert len(once) <= len(text)
    if len(text) < 9:
        assert bare(once) == once


@pytest.mark.parametrize(
    ("latex", "value"),
    table(
        r"""
'\\frac{1}{2}' | '1/2'
'\\dfrac{3}{4}' | '3/4'
'\\frac12' | '1/2'
'\\tfrac{10}{4}' | '5/2'
'2\\frac{1}{2}' | '5/2'
'-2\\frac{1}{2}' | '-5/2'
'2 1/2' | '5/2'
'\\frac{\\frac{1}{2}}{3}' | '1/6'
'3 \\times 4' | '12'
'3 \\cdot 4 \\div 6' | '2'
'\\left(1+2\\right)' | '3'
'2^{10}' | '1024'
'50\\%' | '1/2'
'\\$5' | '5'
'1.5 \\times 10^{3}' | '1500'
'2.5e-2' | '1/40'
'1E3' | '1000'
'\\sqrt{49}' | '7'
'\u221a81' | '9'
'\u221a(144)' | '12'
'\\text{5}' | '5'
'10{,}000' | '10000'
'10\\,000' | '10000'
'1\\!000' | '1000'
'2^{-1}' | '1/2'
'-\\frac{1}{3}' | '-1/3'
'\\mathrm{12}' | '12'
'\\displaystyle \\frac{1}{4}' | '1/4'
'5~000' | '5000'
"""
    ),
)
def test_latex_has_the_value_of_its_formula(latex, value):
    assert same_answer(latex, value)
    assert same_answer(f"${latex}$", value)


@given(st.integers(0, 99), st.integers(1, 99), st.integers(1, 99))
def test_mixed_numbers_and_fractions(whole, top, bottom):
    exact = Fraction(top, bottom)
    assert evaluate(plain(rf"\frac{{{top}}}{{{bottom}}}")) == exact
    mixed = plain(rf"{whole}\frac{{{top}}}{{{bottom}}}")
    assert evaluate(mixed) == whole + exact
    minus = plain(rf"-{whole} {top}/{bottom}")
    assert evaluate(minus) == -(whole + exact)


def test_matrices_have_rows_of_cells():
    cells = [["1", "2"], ["3", "x^2"]]
    rows = r" \\ ".join(" & ".join(row) for row in cells)
    for kind in ("p", "b", "v", "V", ""):
        block = rf"\begin{{{kind}matrix}}{rows}\end{{{kind}matrix}}"
        assert matrix(block) == cells
        closed = block.replace(r"\end", r"\\ \end")
        assert matrix(closed) == cells
    assert matrix(r"\begin{pmatrix}1\end{bmatrix}") is None
    assert matrix("x = " + r"\begin{pmatrix}1\end{pmatrix}") is None
