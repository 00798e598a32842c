from __future__ import annotations

import asyncio

import datasets

from synth.filters.answer_match import AnswerMatch

ROWS = [{"answer": "(84 / 2)", "target": 42}, {"answer": "Beach", "target": "beach"}, {"answer": "41", "target": "42"}]


def test_expressions_texts_and_numbers():
    kept, dropped = AnswerMatch().split(ROWS)
    assert [row["answer"] for row in kept] == ["(84 / 2)", "Beach"]
    assert dropped == [
        {"answer": "41", "target": "42", "marks": {"answer_match": {"keep": False, "reason": "wrong_answer"}}, "reason": "wrong_answer"}
    ]


def test_other_columns_unknown_rows_streams_and_datasets():
    rows = [{"a": "4", "gold": "4"}, {"a": "4"}]
    assert len(AnswerMatch(answer="a", target="gold").split(iter(rows))[0]) == 2
    kept, dropped = AnswerMatch(answer="a", target="gold", unknown="drop").split(datasets.Dataset.from_list(rows))
    assert (len(kept), dropped[0]["reason"]) == (1, "no_target")


def test_it_works_where_a_loop_already_runs():
    async def notebook():
        return AnswerMatch().split(ROWS)

    assert len(asyncio.run(notebook())[0]) == 2
