from __future__ import annotations

from synth.filters.bounds import Bounds


def test_every_field_counts_and_booleans_are_no_numbers():
    part = Bounds(fields=("a", "b"), most=0, unknown="drop")
    assert part.judge({"a": 0, "b": 0}).keep is True
    assert part.judge({"a": 0, "b": 1}).marks == {"field": "b", "value": 1}
    assert (
        Bounds(fields=("made.grade",), least=0.5)
        .judge({"made": [{"grade": 1}, {"grade": 0.2}]})
        .reason
        == "too_low"
    )
    assert part.judge({"a": 0, "b": True}).reason == "no_number"
    assert part.judge({"a": float("nan"), "b": 0}).reason == "no_number"
