from __future__ import annotations

import asyncio

import datasets
import pytest

from synth.filters.answer_match import AnswerMatch

ROWS = [
    {"answer": "(84 / 2)", "target": 42},
    {"answer": "Beach", "target": "beach"},
    {"answer": "41", "target": "42"},
]


def test_expressions_texts_and_numbers():
    kept, dropped = AnswerMatch().split(ROWS)
    assert [row["answer"] for row in kept] == ["(84 / 2)", "Beach"]
    word = {"keep": False, "reason": "wrong_answer", "said": "41", "gold": "42"}
    assert dropped == [
        {
            "answer": "41",
            "target": "42",
            "marks": {"answer_match": word},
            "reason": "wrong_answer",
        }
    ]


@pytest.mark.parametrize(
    ("row", "keep"),
    [
        ({"answer": "5", "target": "2 + 3 = <<2+3=5>>5.\n#### 5"}, True), ({"answer": "5200", "target": "#### 5,200"}, True),
        ({"answer": "0.75", "target": r"so $\boxed{\dfrac{3}{4}}$"}, True), ({"answer": "3", "target": r"\boxed{\dfrac{3}{4}}"}, False),
        ({"answer": "station", "target": 1, "choices": ["park", "station"]}, True),
        ({"answer": "park", "target": 1, "choices": ["park", "station"]}, False),
        ({"answer": "4", "target": 1, "choices": ["2", "4", "6", "8"]}, True), ({"answer": "1", "target": 1, "choices": ["1", "2"]}, None),
        ({"answer": "station", "target": "B", "choices": ["park", "station"]}, True),
        ({"answer": "(b)", "target": "station", "choices": ["park", "station"]}, True),
        ({"answer": "sea", "target": "3", "choices": {"text": ["park", "station", "sea"], "label": ["1", "2", "3"]}}, True),
        ({"answer": "sea", "target": "C", "choices": {"text": ["park", "station", "sea"], "label": ["A", "B", "C"]}}, True),
        ({"answer": "Roma", "target": ["Rome", "Roma"]}, True), ({"answer": "Roma", "target": {"value": "Rome", "aliases": ["Roma"]}}, True),
        ({"answer": "5", "target": ["5"]}, True), ({"answer": "yes", "target": True}, True), ({"answer": "5", "target": ""}, None),
        ({"answer": "5", "target": []}, None), ({"answer": "5", "target": "####"}, None), ({"answer": "5", "target": 5.0}, True),
        ({"answer": "5 hours", "target": "5 minutes"}, False), ({"answer": "1180591620717411303499", "target": 2**70}, False),
    ],
)  # fmt: skip
def test_golds_as_people_have_them(row, keep):
    assert AnswerMatch().judge(row).keep is keep


def test_a_user_says_what_a_gold_is():
    row = {"answer": "2", "target": 1, "choices": ["1", "2", "3"]}
    assert AnswerMatch(gold="index").judge(row).keep is True
    assert AnswerMatch(gold="text").judge(row).keep is False
    assert (
        AnswerMatch(gold="index_from_1").judge({**row, "target": 2}).keep
        is True
    )
    assert (
        AnswerMatch(decimal=",").judge({"answer": "1.234", "target": 1234}).keep
        is True
    )


def test_other_columns_unknown_rows_streams_and_datasets():
    rows = [{"a": "4", "gold": "4"}, {"a": "4"}]
    assert len(AnswerMatch(answer="a", target="gold").split(iter(rows))[0]) == 2
    kept, dropped = AnswerMatch(
        answer="a", target="gold", unknown="drop"
    ).split(datasets.Dataset.from_list(rows))
    assert (len(kept), dropped[0]["reason"]) == (1, "no_target")


def test_it_works_where_a_loop_already_runs():
    async def notebook():
        return AnswerMatch().split(ROWS)

    assert len(asyncio.run(notebook())[0]) == 2
