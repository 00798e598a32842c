from __future__ import annotations

import pytest

from synth.filters.bounds import Bounds
from synth.parsers.tagged import Tagged
from synth.runs.marks import mark, split_name


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


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("2", "too_low"),
        (" 2.5 ", "too_low"),
        ("3", ""),
        ("4 of 5", "no_number"),
    ],
)
def test_a_grade_between_tags_is_a_number(said, reason):
    row = {"reply": f"<grade>{said}</grade>"}
    row |= Tagged(tags=("grade",)).parse(row["reply"], row)
    assert Bounds(fields=("grade",), least=3).judge(row).reason == reason
    number = mark(row, split_name("row.grade"))
    assert (number is None) == (reason == "no_number")
