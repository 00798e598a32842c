"""Socratic CoT: two students, a row for each sub-question, and an inference that goes from question to question."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {"question": f"{n} pens and 2 pens ?", "target": str(n + 2)}
    for n in range(1, 6)
]
ASKED = ("What is there ?", "How many ?")


def teach(body, count):
    said = body["messages"][-1]["content"]
    number = int(said.split(" pens")[0].split()[-1])
    if "Do not solve this" in said:
        return chat("1. What is there ?\n2. How many ?")
    if "Answer only this" in said:
        return chat(
            "Some pens ."
            if ASKED[0] in said.splitlines()[-1]
            else f"There are {number + 2}"
        )
    return chat(f"#### {number + 2}")


def test_two_students_go_from_question_to_question(tmp_path):
    played = play_system(
        "socratic", tmp_path, teach, ROWS[:4], held_out=ROWS[3:], steps=60,
        overrides={"longest": 12},
    )  # fmt: skip
    # Both sub-questions of each question are learnt, the second behind the first one's answer.
    learnt = played.rows("to_answer")
    assert len(learnt) == 2 * 4
    for first, second, row in zip(
        learnt[::2], learnt[1::2], ROWS, strict=False
    ):
        question = f"answer: {row['question']}\n"
        assert first["prompt"] == f"{question}{ASKED[0]}\n"
        assert first["completion"] == "Some pens ."
        assert (
            second["prompt"]
            == f"{question}{ASKED[0]} Some pens .\n{ASKED[1]}\n"
        )
        assert second["completion"] == f"There are {row['target']}"
    for name in ("questioner", "answerer"):
        assert played.trained(name)["model"] == "scratch:tiny"
    start = {row["question"]: row["left"] for row in played.rows("start")}
    steps = max(map(len, start.values()))
    assert len(played.done["rounds"]) == steps
    assert played.done["ended"].startswith("solved")
    # Each round answers the first question that is left, behind what was answered before.
    for n in range(steps):
        history = (
            {
                row["question"]: row["history"]
                for row in played.rows("state", n - 1)
            }
            if n
            else dict.fromkeys(start, "")
        )
        for row in played.rows("moved", n):
            asked = start[row["question"]][n]
            assert (
                row["history"]
                == f"{history[row['question']]}{asked} {row['last']}\n"
            )
    answers = played.rows("answers")
    assert {row["question"] for row in answers} == {
        row["question"] for row in ROWS[3:]
    }
    kept = {row["question"] for row in played.rows("look", part="kept")}
    assert kept == {
        row["question"]
        for row in answers
        if row["completion"].split()[-1:] == [row["target"]]
    }
    # Two steps and a conclusion for each of four questions, and the list of questions.
    assert len(played.bodies) == 4 * 4
