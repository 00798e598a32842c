"""A number that a filter left on a row: the last verdict's own, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.core.records import Verdict
from synth.runs.marks import mark, split_name

BY = ("critic", "score")


def row_of(*verdicts):
    return {"meta": {"verdicts": [verdict.struct() for verdict in verdicts]}}


def said(marks, name="critic"):
    return Verdict(True, "", marks, name)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9))
def test_a_number_comes_back_from_its_verdict(number):
    assert mark(row_of(said({"score": number})), BY) == number


@pytest.mark.parametrize(
    "value", [None, True, False, "0.5", [0.5], {"score": 0.5}, float("nan")]
)
def test_what_is_no_number_is_none(value):
    assert mark(row_of(said({"score": value})), BY) is None


@pytest.mark.parametrize("marks", ["[0.5]", '"score"', "0.5", "null"])
def test_marks_that_are_no_mapping_hold_no_number(marks):
    row = row_of(said({"score": 1}))
    row["meta"]["verdicts"][0]["marks"] = marks
    assert mark(row, BY) is None


@pytest.mark.parametrize(
    "row", [{}, {"meta": None}, {"meta": {}}, {"meta": {"verdicts": None}}]
)
def test_a_row_without_verdicts_has_no_number(row):
    assert mark(row, BY) is None


def test_the_last_verdict_with_marks_counts():
    row = row_of(
        said({"score": 0.1}),
        said({"score": 0.9}),
        said({}),
        said({"score": 0.5}, name="entailment"),
    )
    assert mark(row, BY) == 0.9
    assert mark(row, ("entailment", "score")) == 0.5
    assert mark(row, ("critic", "other")) is None
    assert mark(row, ("length", "score")) is None


def test_a_number_beyond_64_bits_beside_nan_is_read_back():
    verdict = said({"score": 0.5, "huge": 2**70, "odd": float("nan")})
    assert json.loads(verdict.struct()["marks"])["odd"] is None
    assert mark(row_of(verdict), BY) == 0.5


@pytest.mark.parametrize("name", ["", "score", ".score", "critic.", "."])
def test_half_a_name_is_refused_with_an_example(name):
    with pytest.raises(WrongUse) as error:
        split_name(name)
    assert str(error.value) == (
        f"by: found {name!r}; wanted FILTER.MARK, or row.FIELD. For example by=critic.score or "
        "by=row.overall."
    )
