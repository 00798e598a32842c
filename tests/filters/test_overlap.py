from __future__ import annotations

import pytest

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
