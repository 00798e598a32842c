"""What breaks off, and what only looks so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from synth.filters.truncation import Truncation

WHOLE = [
    "So it is 4.", "The answer is 42", "# A title without an end", "- one\n- two\n- three pens of Ann", "```python\nx = 1\n```", r"\boxed{\frac{1}{2}}", "<answer>4</answer>",
    "He asked: why?", "x < y and y < z, so x < z.", "Yes", "| a | b |\n|---|---|\n| 1 | 2 |", "", "Use a <b> tag</b> here.",
]  # fmt: skip
BROKEN = [
    ("```python\nx = 1\ny =", "open_fence"), (r"So \boxed{\frac{1}{2}", "open_group"), ("<answer>4", "open_group"), ("We add 3 and 4 to", "broken_sentence"),
    ("First we take all. Then we go to the", "broken_sentence"), ("~~~\ncode", "open_fence"), ("<step>a</step><step>b", "open_group"),
]  # fmt: skip


@pytest.mark.parametrize("text", WHOLE)
def test_whole_texts_stay(text):
    assert Truncation().judge({"completion": text}).keep


@pytest.mark.parametrize(("text", "reason"), BROKEN)
def test_broken_texts_go(text, reason):
    assert Truncation().judge({"reply": text}).reason == reason


def test_the_teachers_own_word_counts_wherever_it_stands():
    assert (
        Truncation()
        .judge({"reply": "Done.", "meta": {"finish_reason": "length"}})
        .reason
        == "hit_the_limit"
    )
    assert Truncation(sentence=False).judge({"reply": "We add 3 and 4 to"}).keep


FENCED = st.lists(
    st.sampled_from(
        [
            "```",
            "```python",
            "````",
            "~~~",
            "~~~~ x",
            "  ```",
            "``` `",
            "code",
            "",
        ]
    ),
    max_size=7,
)


@given(FENCED)
def test_code_blocks_end_where_a_reader_of_markdown_ends_them(lines):
    """A paragraph behind the text stands outside of its blocks."""
    text = "\n".join([*lines, "mark behind."])
    blocks = MarkdownIt().parse(text)
    inside = any(
        block.type == "fence" and "mark behind." in block.content
        for block in blocks
    )
    verdict = Truncation(sentence=False).judge({"completion": text})
    assert (verdict.reason == "open_fence") == inside


@pytest.mark.parametrize(
    "text",
    [
        "````markdown\n```python\nx = 1\n```\n````\nSo it is.",
        "```\n~~~\n```\nDone.",
        "~~~\n```\n~~~\nDone.",
        "Say ```x``` in one line.\n```one``` begins none.",
    ],
)
def test_a_fence_inside_of_another_one_opens_nothing(text):
    assert Truncation().judge({"completion": text}).keep


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_of_windows_change_nothing(end):
    text = end.join(["```python", "x = 1", "```", "So it is 4."])
    assert Truncation().judge({"completion": text}).keep
    broken = end.join(["```python", "x = 1"])
    assert Truncation().judge({"completion": broken}).reason == "open_fence"
