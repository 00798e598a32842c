from __future__ import annotations

import asyncio

import pytest

import synth
from synth.core.errors import TeacherRefused, WrongUse
from synth.core.records import Request
from synth.teachers.base import open_teacher
from tests.conftest import write


def ask(teacher, draw=0, **inputs):
    request = Request(
        model="x",
        messages=({"role": "user", "content": "q"},),
        family="replay",
        draw=draw,
        inputs=inputs,
    )
    return asyncio.run(teacher.ask(request)).completion


def test_draws_in_order_by_question_and_by_key(tmp_path):
    key = Request(
        model="x", messages=({"role": "user", "content": "q"},), family="replay"
    ).key()
    path = write(
        tmp_path / "r.jsonl",
        [
            {"question": "a", "completion": "one", "teacher": "T1", "finish_reason": "length"}, {"question": "a", "completion": "two", "teacher": "T2"},
            {"key": key, "completion": "by key"},
        ],
    )  # fmt: skip
    teacher = open_teacher(f"replay/{path}")
    assert ask(teacher, question="b").text == "by key"
    assert (
        ask(teacher, 1, question="a").text,
        ask(teacher, 1, question="a").model,
    ) == ("two", "T2")
    with pytest.raises(TeacherRefused, match="not_recorded"):
        ask(teacher, 2, question="a")


def test_a_file_without_replies_is_refused(tmp_path):
    with pytest.raises(WrongUse, match="completion"):
        open_teacher(
            f"replay/{write(tmp_path / 'r.jsonl', [{'question': 'a'}])}"
        )
    with pytest.raises(WrongUse, match="no such file"):
        open_teacher("replay/none.jsonl")


def test_a_missing_draw_is_a_failed_row_and_exit_3(tmp_path):
    path = write(
        tmp_path / "r.jsonl",
        [{"question": "a", "completion": "One it is.\n#### 1"}],
    )
    run = synth.run(
        "cot",
        [{"question": "a"}, {"question": "b"}],
        teacher=f"replay/{path}",
        output=tmp_path / "out",
    )
    assert run.counts == {
        "asked": 2,
        "kept": 1,
        "dropped": {},
        "failed": {"not_recorded": 1},
    }
    assert run.exit_code == 3


def test_a_journals_replies_are_found_by_their_keys(tmp_path, problems):
    from synth.pipeline.preview import journal_counts

    first = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "one",
        draws=2,
    )
    journal_counts(tmp_path / "one", tmp_path / "recorded.jsonl")
    again = synth.run(
        "cot",
        problems,
        teacher=f"replay/{tmp_path}/recorded.jsonl",
        output=tmp_path / "two",
        draws=2,
    )
    assert again.counts == first.counts
    assert [row["reply"] for row in again.kept] == [
        row["reply"] for row in first.kept
    ]
    assert again.kept[0]["meta"]["teacher"] == "simulated/mixed"


def test_another_file_of_the_same_name_is_another_teacher(tmp_path):
    rows = [{"question": "What is 2 + 3 ?", "target": "5"}]
    for name, said in (("a", "5"), ("b", "6")):
        (tmp_path / name).mkdir()
        write(
            tmp_path / name / "r.jsonl",
            [
                {
                    "question": rows[0]["question"],
                    "completion": f"It is so.\n#### {said}",
                }
            ],
        )
    first = synth.run(
        "cot",
        rows,
        teacher=f"replay/{tmp_path}/a/r.jsonl",
        output=tmp_path / "o",
    )
    again = synth.run(
        "cot",
        rows,
        teacher=f"replay/{tmp_path}/b/r.jsonl",
        output=tmp_path / "o",
    )
    assert (first.counts["kept"], again.counts["kept"]) == (1, 0)
    same = synth.run(
        "cot",
        rows,
        teacher=f"replay/{tmp_path}/a/r.jsonl",
        output=tmp_path / "o",
    )
    assert same.info["calls"] == {"asked": 0, "reused": 1, "retried": 0}
