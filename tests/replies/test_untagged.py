"""What replies say without tags."""

from __future__ import annotations

import pytest

from synth.replies.untagged import announced


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The final answer is Oe.", "Oe"),
        ('So the answer is "ye".', "ye"),
        ("6 * 7 = 42.\nTherefore, the correct answer is: **42**", "42"),
        ("Cy flips it over. The final answer is: yes.", "yes"),
        ("The final answer is: Yes. Lincoln was born in 1809.", ""),
        ("The final answer is: Y <answer>", ""),
        ("The answer is 5.\nI hope that helps!", ""),
        ("My answer is no answer.", ""),
        ("The answer", ""),
        ("", ""),
    ],
)
def test_a_last_sentence_says_what_a_name_is(text, value):
    assert announced("answer", text) == value


def test_an_announced_name_may_have_several_words():
    assert announced("read_label", "The read label is spam.") == "spam"
