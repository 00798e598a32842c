from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.overlap import Overlap


def test_the_worst_element_of_a_list_decides():
    rows = {
        "parts": [
            {"new": "a b c d", "old": "a b c d"},
            {"new": "a b", "old": "x y"},
        ]
    }
    verdict = Overlap(field="new", other="old", each="parts", least=0.7).judge(
        rows
    )
    assert verdict.reason == "too_unlike"
    assert verdict.marks == {"lowest": 0.0, "highest": 1.0}


def test_copies_are_too_alike_by_order_too():
    row = {"a": "one two three four", "b": "four three two one"}
    assert (
        Overlap(field="a", other="b", most=0.9).judge(row).reason == "too_alike"
    )
    assert (
        Overlap(field="a", other="b", most=0.9, measure="rouge_l")
        .judge(row)
        .keep
        is True
    )


def test_shares_are_checked():
    with pytest.raises(WrongUse, match="least"):
        registry.build("synth.filters", "overlap:field=a,other=b,least=7")


@pytest.mark.parametrize(
    "listed", ["text", ["text"], [None], 7 * [1], {"a": 1}, [[]]]
)
def test_an_element_that_is_no_object_has_no_texts(listed):
    part = Overlap(field="new", other="old", each="pairs")
    verdict = part.judge({"pairs": listed})
    assert (verdict.keep, verdict.reason) == (None, "no_text")


WORDS = st.lists(
    st.sampled_from(["red", "pen", "a", "b"]), min_size=1, max_size=6
)


@given(
    WORDS, WORDS, st.sampled_from([0.0, 0.4, 0.7]), st.sampled_from([0.7, 1.0])
)
def test_shared_words_are_counted_as_rouge_1_does(new, old, least, most):
    shared = sum((Counter(new) & Counter(old)).values())
    wanted = 2 * shared / (len(new) + len(old))
    part = Overlap(field="new", other="old", least=least, most=most)
    verdict = part.judge({"new": " ".join(new), "old": " ".join(old)})
    assert verdict.marks["lowest"] == pytest.approx(wanted, abs=1e-4)
    assert verdict.keep is (least <= wanted <= most)
    swapped = part.judge({"old": " ".join(new), "new": " ".join(old)})
    assert swapped.marks == verdict.marks
