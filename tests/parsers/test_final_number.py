from __future__ import annotations

import pytest

from synth.core.errors import Unreadable
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
        ("#### approximately 12 days", "12 days"),
        (r"So it is \boxed{\dfrac{3}{4}}.", r"\dfrac{3}{4}"),
        (r"So it is $\boxed{10{,}000}$.", "10{,}000"),
        (r"So it is $\boxed{2^{10}}$.", "2^{10}"),
        (r"So it is $\boxed{3 \times 10^{8}}$.", r"3 \times 10^{8}"),
        (r"So it is $\boxed{5\frac{1}{2}}$.", r"5\frac{1}{2}"),
        ("#### 1e6", "1e6"),
        ("#### 1.2 million", "1.2 million"),
        ("The answer is $1.5 billion in all.", "$1.5 billion"),
        ("#### 5k", "5k"),
        ("#### 5 km away", "5 km"),
        ("The answer is 60 miles per hour.", "60 miles per hour"),
        ("The answer is twenty-three apples.", "twenty-three"),
        ("The answer is 1.234,56 euros", "1.234,56 euros"),
        ("The answer is 5 in total.", "5"),
    ],
)
def test_answers_as_people_announce_them(text, answer):
    assert FinalNumber().parse(text, {})["answer"] == answer


@pytest.mark.parametrize(
    "text",
    [
        "#### 5 or 6",
        "#### 3 to 5",
        r"\boxed{2^{n}}",
        "#### 5x + 3",
        "The answer is 12:30.",
        "#### 3, 4",
        r"\boxed{\frac{3}{x}}",
        "#### 2(x+1)",
    ],
)
def test_a_part_of_something_longer_is_no_answer(text):
    with pytest.raises(Unreadable) as caught:
        FinalNumber().parse("First the answer is 7.\n" + text, {})
    assert caught.value.reason == "no_number"


def test_fallback_is_asked_for():
    parsed = FinalNumber(fallback="last_number").parse("first 3, then 4", {})
    assert parsed["answer"] == "4"


def test_the_rationale_loses_the_words_before_the_marker():
    assert (
        FinalNumber().parse("7 * 2 = 14. So the answer is 14.", {})["rationale"]
        == "7 * 2 = 14."
    )
