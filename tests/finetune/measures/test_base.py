"""Means over questions, with their intervals."""

from __future__ import annotations

import pytest

from finetune.measures import (
    Classes,
    QuoteF1,
    Rank,
    RougeL,
    SetF1,
    TokenF1,
)
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


MEASURES = [TokenF1(), RougeL(), SetF1(), QuoteF1(), Classes(), Rank()]


@pytest.mark.parametrize(
    "measure", MEASURES, ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("target", [None, [], "", ["a", 2], {"a": 1}, 5, True])
@pytest.mark.parametrize("answer", [None, [], "", ["a", 2], 5, True])
def test_odd_predictions_have_a_measure(measure, target, answer):
    for reply in (None, "", "a, 2"):
        row = {"prompt": [], "target": target, "reply": reply, "answer": answer}
        found = measured(measure, [row])
        if target is None:
            assert (found["value"], found["questions"]) == (None, 0)
        else:
            assert 0 <= found["value"] <= 1


def test_a_reply_that_is_missing_is_empty():
    row = {"prompt": "q", "target": "None", "reply": None, "answer": None}
    for measure in MEASURES:
        assert measured(measure, [row])["value"] == 0, measure


@pytest.mark.parametrize("measure", [TokenF1(), RougeL()])
def test_no_answer_is_right_where_there_is_none(measure):
    for target in ([], "", [""]):
        row = {"prompt": "q", "target": target, "reply": "", "answer": None}
        assert measured(measure, [row])["value"] == 1
        assert measured(measure, [{**row, "reply": "a"}])["value"] == 0


def test_items_of_an_answer_are_words():
    row = {"prompt": "q", "target": "a b", "reply": "", "answer": ["a", "b"]}
    assert measured(RougeL(), [row])["value"] == 1
