"""Pairs of texts that say the same in other words, by rules and by a tiny inference model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.paraphrase import Paraphrase
from tests import tiny

PAIR = {
    "source": "Ann bought 3 red pens there",
    "answer": "There Ann got 3 pens, red",
}
CASE = (
    {"nli": tiny.nli, "unknown": "drop"},
    [
        {"source": "a red pen", "answer": "a blue pen"},
        {"source": "a red pen", "answer": "not blue pen"},
        PAIR | {"answer": "There Ann got 4 pens, red"},
        PAIR | {"answer": "Ann bought 3 red pens then"},
        PAIR | {"answer": "Ann: 3"},
        PAIR | {"answer": "Ann bought 3 red pens there, " * 2},
        {"answer": "a pen"},
    ],
)
DATA = (
    *("field", "other", "shortest", "longest", "most_alike", "least"),
    "mutual",
)


def test_a_summary_may_leave_numbers_out_and_add_none():
    long = "Ann bought 3 red pens and 14 hats there in 1990"
    rule = Paraphrase(shortest=0.0, longest=0.7, mutual=False)
    assert rule.judge({"source": long, "answer": "Ann got 3 pens"}).keep
    for text, reason in (
        ("Ann got 4 pens", "other_numbers"),
        ("Ann got 3 pens and 3 hats", "other_numbers"),
        (long, "too_long"),
    ):
        assert rule.judge({"source": long, "answer": text}).reason == reason
    both = Paraphrase(shortest=0.0, longest=0.7)
    short = {"source": long, "answer": "Ann got 3 pens"}
    assert both.judge(short).reason == "other_numbers"


@pytest.mark.long
def test_a_summary_follows_and_a_paraphrase_is_followed_too():
    rule = {"shortest": 0.0, "longest": 2.0, "nli": tiny.nli()}
    row = {"source": "red pen", "answer": "a blue pen"}
    assert Paraphrase(mutual=False, **rule).judge(row).keep
    verdict = Paraphrase(**rule).judge(row)
    assert verdict.reason == "not_entailed"
    assert verdict.marks["entailment"] < 0.75


@given(st.text("ab 12", min_size=1, max_size=20), st.text("ab 12", max_size=20))
def test_paraphrases_go_both_ways(one, two):
    rule = Paraphrase(shortest=0.5, longest=2.0)
    there = rule.judge({"source": one, "answer": two})
    back = rule.judge({"source": two, "answer": one})
    if two:
        assert there.keep == back.keep
