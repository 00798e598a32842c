"""Means over questions, with their intervals."""

from __future__ import annotations

from finetune.measures.base import measured, questions
from finetune.measures.pass_at import PassAt


def test_draws_of_a_question_stand_together_and_questions_count_once():
    rows = [
        {"prompt": prompt, "target": "1", "right": right}
        for prompt, right in [
            ("a", True),
            ("b", False),
            ("a", False),
            ("b", False),
        ]
    ]
    assert [len(draws) for draws in questions(rows)] == [2, 2]
    found = measured(PassAt(k=2), rows)
    assert found["value"] == 0.5
    assert found["questions"] == 2
    assert found["low"] <= 0.5 <= found["high"]


def test_no_question_has_no_value():
    assert measured(PassAt(k=1), [])["value"] is None
