"""Fused ranks beside their formula, elements of lists as runs store them, and sides that part."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.exports.base_retrieval import (
    RRF_K,
    elements,
    rrf,
)
from synth.exports.base_retrieval import _number as number
from synth.exports.base_retrieval import _once as once

RANKINGS = st.integers(1, 8).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(-3, 3), min_size=size, max_size=size),
        min_size=1,
        max_size=4,
    )
)


@given(RANKINGS)
def test_fused_ranks_are_those_of_the_formula(rankings):
    wanted = [0.0] * len(rankings[0])
    for rows in rankings:
        ranks = scipy.stats.rankdata([-score for score in rows], "average")
        for item, rank in enumerate(ranks):
            wanted[item] += 1 / (RRF_K + rank)
    assert rrf(rankings) == pytest.approx(wanted)


@given(RANKINGS, st.randoms(use_true_random=False))
def test_the_order_of_rankings_and_the_size_of_scores_play_no_part(
    rankings, rng
):
    found = rrf(rankings)
    shuffled = rng.sample(rankings, len(rankings))
    assert rrf(shuffled) == pytest.approx(found)
    stretched = [[3 * score**3 + 1 for score in row] for row in rankings]
    assert rrf(stretched) == pytest.approx(found)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "NaN", "high", "", "1,5"]
)
def test_a_grade_that_is_no_number_is_named(text):
    with pytest.raises(WrongUse) as error:
        number(text, "--to ranked")
    said = str(error.value)
    assert said.startswith(f"--to ranked: found a grade that reads {text!r}")
    assert "wanted a number" in said


@pytest.mark.parametrize(
    ("text", "grade"),
    [("0.5", 0.5), (" 1\n", 1.0), ("-2e-3", -0.002), ("7", 7)],
)
def test_a_grade_is_read_with_space_around_it(text, grade):
    assert number(text, "x") == grade


LISTS = st.lists(
    st.integers(-9, 9)
    | st.text(max_size=5)
    | st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9)),
    max_size=5,
)


@given(LISTS)
def test_a_list_and_its_json_have_the_same_elements(values):
    found = list(elements({"made": values}, "made"))
    stored = json.dumps(values, ensure_ascii=False)
    assert list(elements({"made": stored}, "made")) == found
    assert [element["index"] for element in found] == list(range(len(values)))
    assert [element["item"] for element in found] == values


@pytest.mark.parametrize("values", [{}, {"made": None}, {"made": []}])
def test_what_is_not_there_has_no_elements(values):
    assert list(elements(values, "made")) == []
    assert list(elements(values, "made.inner")) == []


def test_lists_in_lists_are_one_list():
    made = [{"facts": ["a", "b"]}, {"facts": '["c"]'}, {"other": 1}, "text", 7]
    found = list(elements({"made": made}, "made.facts"))
    assert [element["item"] for element in found] == ["a", "b", "c"]
    assert [element["index"] for element in found] == [0, 1, 2]


@pytest.mark.parametrize(
    "value", ["plain text", "", "5", '{"a": 1}', 5, {"a": 1}, True, "[1", '"a"']
)
def test_what_is_no_list_is_named_with_its_field(value):
    for values, each in (
        ({"made": value}, "made"),
        ({"made": [{"facts": value}]}, "made.facts"),
    ):
        with pytest.raises(WrongUse) as error:
            list(elements(values, each))
        said = str(error.value)
        assert said.startswith(f"a row's {each}: found ")
        assert "wanted a list" in said


GRADED = st.lists(
    st.tuples(
        st.sampled_from(["Text", "text ", "TEXT", "other", "third"]),
        st.integers(0, 10).map(lambda n: [n / 10]),
        st.sampled_from(["gold", "written"]),
    ),
    max_size=8,
)


@given(GRADED, st.booleans())
def test_a_text_counts_once_with_its_best_grade_or_their_mean(graded, mean):
    documents = list(once(graded, mean=mean))
    names = [document.text.strip().lower() for document in documents]
    assert len(names) == len(set(names))
    for document, name in zip(documents, names, strict=True):
        same = [one for one in graded if one[0].strip().lower() == name]
        grades = [Fraction(grade[0]) for _, grade, _ in same]
        wanted = sum(grades) / len(grades) if mean else max(grades)
        assert document.grade == pytest.approx(float(wanted))
        assert document.text == same[0][0]
        best = [how for _, grade, how in same if grade[0] == max(grades)]
        assert document.how == best[0]
