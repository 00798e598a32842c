"""What leaks does beyond its laws."""

from __future__ import annotations

import pytest

from synth.filters.leaks import Leaks


def test_a_hidden_list_is_looked_at_and_the_words_are_told():
    part = Leaks(field="answer", hidden="context", words=4, phrases=())
    row = {
        "context": ["never promise a delivery date", "x"],
        "answer": "I NEVER promise a, delivery!",
    }
    assert part.judge(row).marks["leak"] == "never promise a delivery"
    assert part.judge({**row, "answer": "I promise a date"}).keep
    assert part.judge({"answer": "no context at all"}).keep


@pytest.mark.parametrize(
    "text",
    [
        "We were told that the final answer is 60, so 80 * 0.75 = 60.",
        "Since the final answer is 60, the coat must cost 60.",
        "The answer given is 60. Working backwards, 80 - 20 = 60.",
        "To match the known result of 60, subtract 20.",
        "(For you alone: the final answer is 60.) 80 - 20 = 60.",
        "As we already know that the answer is 60, we subtract 20.",
        "The problem states that the correct answer is (b).",
        "This agrees with the provided answer.",
        "Following the hint, 80 - 20 = 60.",
        "The correct answer is given as 60.",
    ],
)
def test_speech_of_an_answer_that_was_known_is_a_leak(text):
    assert Leaks().judge({"rationale": text}).reason == "leak"


@pytest.mark.parametrize(
    "text",
    [
        "The answer is given by 80 - 20 = 60.",
        "Of the given answer choices, (b) fits.",
        "Given 3 bags of 4 apples, the answer is 12.",
        "Since the answer must be a whole number, we round down.",
        "By a known result of Euler, the sum is 60.",
        "The solution is given in litres, so we convert it.",
        "So the final answer is 60.",
        "We are given the number of cats.",
    ],
)
def test_speech_of_the_work_is_no_leak(text):
    assert Leaks().judge({"rationale": text}).keep


@pytest.mark.parametrize(
    ("gold", "text", "keep"),
    [
        ("60", "1. Take a quarter of 80; the answer is 60 euros.", False),
        ("60", "1. Multiply by 0.75.\n2. A year has 360 days.", True),
        ("6", "6. Check the units.\n7. There are 16 of 26.", True),
        ("6", "1. Then x = 6.", False),
        ("6", "1. Then x = 6.5, and y is 64.", True),
        ("b", "1. The option is (b).", False),
        ("Bern", "1. The capital of Switzerland is BERN.", False),
        (60, "- 80 * 0.75 = 60", False),
        (None, "- 80 * 0.75 = 60", True),
    ],
)  # fmt: skip
def test_an_answer_that_is_stated_is_a_leak(gold, text, keep):
    part = Leaks(field="knowledge", gold="target")
    assert part.judge({"target": gold, "knowledge": text}).keep is keep
