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


@pytest.mark.parametrize(
    ("lines", "spans"),
    [
        ("1. a\n2. a\n3. b\n4. B\n5. c", [("a", 1, 2), ("b", 3, 4), ("c", 5, 5)]),
        ("1) a\n2) b\n3) a\n4) a\n5) a", [("a", 1, 1), ("b", 2, 2), ("a", 3, 5)]),
        ("- 1: a\n- 2: a\n- 3: a\n- 4: a\n- 5: a", [("a", 1, 5)]),
    ],
)  # fmt: skip
def test_the_aspect_of_each_sentence_is_read_as_ranges(lines, spans):
    found = Outline().parse(f"scope: s\n{lines}", ROW)
    assert [
        (a["name"], a["first"], a["last"]) for a in found["aspects"]
    ] == spans


def test_an_aspect_of_a_sentence_may_have_parts():
    found = Outline().parse(
        "scope: s\n1. a / x\n2. a / y\n3. a / y\n4. b\n5. c / x", ROW
    )
    assert [
        (a["level"], a["name"], a["first"], a["last"]) for a in found["aspects"]
    ] == [(0, "a", 1, 3), (1, "x", 1, 1), (1, "y", 2, 3), (0, "b", 4, 4), (0, "c", 5, 5), (1, "x", 5, 5)]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("1. a\n2. a\n4. b\n5. b", "not_covered"),
        ("1. a\n2. a\n3. b\n4. b", "not_covered"),
        ("1. a\n2. a\n3. b\n4. b\n5. b\n6. b", "out_of_range"),
        ("1. a\n1. a\n2. b\n3. b\n4. b\n5. b", "not_covered"),
        ("1. a / x\n2. a\n3. a\n4. a\n5. a", "not_covered"),
    ],
)
def test_a_sentence_left_out_or_named_twice_is_refused(lines, reason):
    with pytest.raises(Unreadable, match=reason):
        Outline().parse(f"scope: s\n{lines}", ROW)
