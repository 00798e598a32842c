from __future__ import annotations

import pytest

from synth.parsers.final_number import FinalNumber


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so 6.\n#### 6", "6"),
        ("#### $1,200.50", "$1,200.50"),
        ("The answer is (84 / 2).", "(84 / 2)"),
        ("The answer is (102 * 11) - 8.", "(102 * 11) - 8"),
        ("The answer is -7.", "-7"),
        ("The final answer is: **18**", "18"),
        ("**Answer:** 18 eggs", "18"),
        ("16 - 3 = <<16-3=13>>13\nA: 13", "13"),
        (r"thus \boxed{42}", "42"),
        ("The answer is 5. Wait, no. The answer is 6.", "6"),
        ("The answer is 75%.", "75%"),
        ("The answer is 3\n\nQ: Lea has 9 cats.\nA: The answer is 9.", "3"),
        ("The answer is 3.\nQuestion: what?\nThe answer is 4.", "3"),
        ("#### approximately 12 days", "12"),
    ],
)
def test_answers_as_people_announce_them(text, answer):
    assert FinalNumber().parse(text, {})["answer"] == answer


def test_fallback_is_asked_for():
    parsed = FinalNumber(fallback="last_number").parse("first 3, then 4", {})
    assert parsed["answer"] == "4"


def test_the_rationale_loses_the_words_before_the_marker():
    assert FinalNumber().parse("7 * 2 = 14. So the answer is 14.", {})["rationale"] == "7 * 2 = 14."
