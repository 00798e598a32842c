"""What numbered_list reads beyond its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable

STYLES = {
    "dots": "{n}. {x}", "brackets": "{n}) {x}", "round": "({n}) {x}", "square": "[{n}] {x}", "colons": "{n}: {x}", "q": "Q{n}: {x}", "step": "Step {n}: {x}",
    "question": "Question #{n}. {x}", "small": "{a}) {x}", "great": "{A}. {x}", "in brackets": "({a}) {x}", "roman": "{i}. {x}", "circled": "{c} {x}", "dashes": "- {x}",
    "stars": "* {x}", "plus": "+ {x}", "bullets": "\u2022 {x}", "boxes": "- [ ] {x}", "bold numbers": "**{n}.** {x}", "bold": "**{n}. {x}**", "bold item": "{n}. **{x}**",
    "headings": "### {n}. {x}", "bold heads": "**Step {n}:** {x}", "quoted": '{n}. "{x}"', "quotation": "> {n}. {x}", "no blank": "{n}.{x}", "next line": "**Question {n}:**\n{x}",
    "italic": "{n}. *{x}*", "code": "- `{x}`", "fullwidth": "{n}\u3001{x}",
}  # fmt: skip
ITEMS = [
    "How many in all?",
    "What is 3 - 2?",
    "Who left, and why?",
    "A pen: 2 euros",
    "plants",
]
BEHIND = [
    "",
    "\n\nThat is all. Good luck!",
    "\n\nLet me know if you need more (or less).",
]


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "numbered_list", **parameters}
    ).parse(text, {})["items"]


@given(
    style=st.sampled_from(list(STYLES)), items=st.lists(st.sampled_from(ITEMS), min_size=2, max_size=5), gap=st.sampled_from(["\n", "\n\n", "\r\n"]),
    around=st.tuples(st.sampled_from(["", "Sure! Here are 3 questions:\n\n", "## Questions\n", "To solve this in 2 steps.\n"]), st.sampled_from(BEHIND)), indent=st.sampled_from(["", " ", "   "]),
)  # fmt: skip
def test_every_style_is_read_back(style, items, gap, around, indent):
    places = [
        {
            "n": n,
            "a": "abcde"[n - 1],
            "A": "ABCDE"[n - 1],
            "i": ["i", "ii", "iii", "iv", "v"][n - 1],
            "c": chr(0x245F + n),
        }
        for n in range(1, 6)
    ]
    lines = [
        indent + STYLES[style].format(x=x, **place)
        for x, place in zip(items, places, strict=False)
    ]
    assert read(around[0] + gap.join(lines) + around[1]) == items


@pytest.mark.parametrize(
    "text",
    [
        "1. a\n2. b", "- a\n* b", "Sure:\n 1) a\n\n 2) b\nThat is all", "1. a\n   - x\n   - y\n2. b", "1. a\n- x\n2. b\n- y", "- a\n  1. x\n  2. y\n- b", "Notes:\n- be brief\n\n1. a\n2. b",
        "1. a\n   a) x\n   b) y\n2. b", "1. a 2. b", "1. a\n\tmore of it\n2. b", "* a\n    * x\n* b",
    ],
)  # fmt: skip
def test_the_outermost_list_alone(text):
    assert read(text) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "1. **plants** - living things\n2. flowers (ornamental)",
        "- plants: they live\n- flowers \u2013 they bloom",
        "1. plants.\n2. **flowers**: they bloom",
    ],
)
def test_glosses_are_cut_where_a_pack_says_so(text):
    assert read(text, glosses="cut") == ["plants", "flowers"]
    assert read(text) != ["plants", "flowers"]


@pytest.mark.parametrize(
    "text",
    [
        " None. ",
        "None needed.",
        "none\n\nThe question is already simple.",
        "**None**",
        "1. None",
        "- None needed.",
        "None, as it is simple.",
        "No subquestions are needed.",
        "(none)",
    ],
)
def test_forms_of_none(text):
    assert read(text, none="none") == []
    with pytest.raises(Unreadable, match="no_list"):
        read(text.replace("1.", "").replace("- ", ""))


@pytest.mark.parametrize(
    "text",
    [
        "Nonetheless it is hard.",
        "None of the pens is red, so how many are blue?",
        "I do not know.",
    ],
)
def test_other_words_are_no_empty_list(text):
    with pytest.raises(Unreadable, match="no_list"):
        read(text, none="none")


def test_a_least_length_and_a_most():
    with pytest.raises(Unreadable, match="no_list"):
        read("1. a", least=2)
    assert len(read("1. a\n" * 5000)) == 200


@pytest.mark.parametrize(
    "text",
    [
        "1. " * 100_000,
        "**" * 200_000,
        "1. " + "**a " * 100_000,
        "a" + "\n" * 300_000 + "a",
        "- \n" * 100_000,
        "1. a" + " " * 300_000,
        "i." * 100_000,
        "> " * 100_000,
        "1. \u201c" * 50_000,
    ],
)
def test_lists_without_end_cost_little(text):
    try:
        read(text)
    except Unreadable as error:
        assert error.reason == "no_list"
