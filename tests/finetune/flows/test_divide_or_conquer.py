"""Divide-or-Conquer: a student's sub-questions, not the teacher's, are what is answered in the end."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {"question": f"{n} pens and 2 pens ?", "target": str(n + 2)}
    for n in range(1, 7)
]


def teach(body, count):
    said = body["messages"][-1]["content"]
    number = int(said.split(" pens")[0].split()[-1])
    if "Do not answer this" in said:
        return chat("1. First part ?\n2. Second part ?")
    # One question it does not get right.
    slip = number == 3
    return chat(f"Both together .\n#### {number + 2 + slip}")


def test_the_teacher_answers_the_students_questions(tmp_path):
    played = play_system(
        "divide_or_conquer",
        tmp_path,
        teach,
        ROWS[:4],
        held_out=ROWS[4:],
        steps=40,
        overrides={"said.max_new_tokens": 4},
    )
    # Where the teacher's own answer is wrong, neither student learns of the question.
    for name in ("to_divide", "to_solve"):
        questions = [row["question"] for row in played.rows(name)]
        assert questions == [ROWS[n]["question"] for n in (0, 1, 3)]
    divider, solver = (played.trained(name) for name in ("divider", "solver"))
    assert divider["model"] == solver["model"] == "scratch:tiny"
    # It says the first sub-question alone, which no teacher does.
    divided = played.rows("divided")
    assert [row["subquestions"] for row in divided] == [["First part ?"]] * 2
    last = played.asked[-2:]
    for row, text in zip(divided, sorted(last), strict=True):
        assert row["question"] in text
        assert "1. First part ?\n" in text
        assert "Second" not in text
        assert row["prompt"] == f"solve: {row['question']}\n1. First part ?\n"
    assert played.phase()["teacher_solves"]["measures"]["kept_share"] == 1
    asked = {row["prompt"] for row in played.rows("look")}
    assert asked == {row["prompt"] for row in divided}
    assert len(played.bodies) == 4 * 2 + 2
