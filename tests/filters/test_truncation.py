"""What breaks off, and what only looks so."""

from __future__ import annotations

import pytest

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
