"""What agree does beyond its laws."""

from __future__ import annotations

from synth.filters.agree import Agree


def test_spellings_agree():
    assert Agree(first="a", second="b").judge({"a": "(B)", "b": "b."}).keep
    assert (
        Agree(first="a", second="b").judge({"a": "k", "b": "m"}).reason
        == "disagree"
    )
