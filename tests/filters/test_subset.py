from __future__ import annotations

from synth.filters.subset import Subset


def test_lists_in_lists_are_walked_and_case_plays_no_part():
    part = Subset(field="items.refs", of="ids")
    assert (
        part.judge(
            {"items": [{"refs": ["A"]}, {"refs": ["b "]}], "ids": ["a", "B"]}
        ).keep
        is True
    )
    assert part.judge(
        {"items": [{"refs": ["a"]}, {"refs": ["d"]}], "ids": ["a"]}
    ).marks == {"what": "d"}
    assert Subset(field="verdict", values=("yes",)).judge(
        {"verdict": "no"}
    ).marks == {"what": "no"}
    assert (
        Subset(field="label", of="labels")
        .judge({"label": "x", "labels": ["x"]})
        .keep
        is True
    )
