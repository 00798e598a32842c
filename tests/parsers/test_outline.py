from __future__ import annotations

import pytest

from synth.core.errors import Unreadable
from synth.parsers.outline import Outline

ROW = {"sentences": list("abcde")}


def test_levels_nest_and_leaves_cover_each_sentence_once():
    found = Outline().parse(
        "scope: s\n- one: 1-3\n  - x: 1\n  - y: 2-3\n- two: 4-5", ROW
    )
    assert [(a["level"], a["first"], a["last"]) for a in found["aspects"]] == [
        (0, 1, 3),
        (1, 1, 1),
        (1, 2, 3),
        (0, 4, 5),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "- one: 1-3\n  - x: 1\n- two: 4-5",
        "- one: 1-4\n- two: 4-5",
        "- one: 1-5\n- two: 5",
    ],
)
def test_holes_and_overlaps_are_refused(text):
    with pytest.raises(Unreadable, match="not_covered"):
        Outline().parse("scope: s\n" + text, ROW)


@pytest.mark.parametrize(
    "text",
    [
        "- one: 1-9",
        "- one: 1, 3",
        "- one: 1-2\n  - x: 1-3\n- two: 3-5",
        "- one: 2-1",
    ],
)
def test_ranges_must_lie_inside(text):
    with pytest.raises(Unreadable, match="out_of_range"):
        Outline().parse("scope: s\n" + text, ROW)


@pytest.mark.parametrize(
    "text",
    [
        "**scope:** a light\n- past: 1-2\n- now: 3", "scope: a light\n- past: 1\u20132\n- now: 3", "## Scope: a light\n* **past**: 1 to 2\n* **now**: 3", "scope: a light\n1. past: 1, 2\n2. now: 3",
        "scope: a light\n- past: sentences 1-2\n- now: sentence 3", "Here it is:\n```\nscope: a light\n- past (1-2)\n- now (3)\n```", "scope: a light\n- past: 1 and 2.\n- now: 3",
    ],
)  # fmt: skip
def test_spellings_of_an_outline(text):
    found = Outline().parse(text, {"sentences": ["a", "b", "c"]})
    assert found["scope"] == "a light"
    assert [
        (one["name"], one["first"], one["last"]) for one in found["aspects"]
    ] == [("past", 1, 2), ("now", 3, 3)]


@pytest.mark.parametrize("indent", ["  ", "    ", "\t", "   "])
def test_levels_by_any_indent(indent):
    text = f"scope: x\n- all: 1-3\n{indent}- past: 1-2\n{indent * 2}- one: 1\n{indent * 2}- two: 2\n{indent}- now: 3"
    assert [
        one["level"]
        for one in Outline().parse(text, {"sentences": ["a", "b", "c"]})[
            "aspects"
        ]
    ] == [0, 1, 2, 2, 1]
