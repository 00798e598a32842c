from __future__ import annotations

import pytest

from synth.errors import Unreadable
from synth.parsers.outline import Outline

ROW = {"sentences": list("abcde")}


def test_levels_nest_and_leaves_cover_each_sentence_once():
    found = Outline().parse("scope: s\n- one: 1-3\n  - x: 1\n  - y: 2-3\n- two: 4-5", ROW)
    assert [(a["level"], a["first"], a["last"]) for a in found["aspects"]] == [(0, 1, 3), (1, 1, 1), (1, 2, 3), (0, 4, 5)]


@pytest.mark.parametrize("text", ["- one: 1-3\n  - x: 1\n- two: 4-5", "- one: 1-4\n- two: 4-5", "- one: 1-5\n- two: 5"])
def test_holes_and_overlaps_are_refused(text):
    with pytest.raises(Unreadable, match="not_covered"):
        Outline().parse("scope: s\n" + text, ROW)


@pytest.mark.parametrize("text", ["- one: 1-5\n    - x: 1", "- one: 1-2\n  - x: 1-3\n- two: 3-5", "- one: 2-1"])
def test_ranges_must_lie_inside(text):
    with pytest.raises(Unreadable, match="out_of_range"):
        Outline().parse("scope: s\n" + text, ROW)
