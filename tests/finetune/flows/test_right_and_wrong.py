"""QCRD: what most draws say is learnt, what an older student says is left, and the discriminator learns in turns."""

from __future__ import annotations

import pytest

from finetune.flows.loading import load
from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {"question": f"What are {n} pens and 2 pens ?", "target": str(n + 2)}
    for n in range(1, 7)
]


def teach(body, count):
    """Two of three draws of a question say so, the third one is wrong by one."""
    question = body["messages"][-1]["content"].strip()
    number = int(question.split("What are ")[-1].split()[0])
    asked[number] = asked.get(number, 0) + 1
    slip = asked[number] % 3 == 0
    word = "Nearly" if slip else ("Surely", "Clearly")[asked[number] % 2]
    return chat(f"{word} {number} + 2 .\n#### {number + 2 + slip}")


asked: dict[int, int] = {}


def test_older_students_and_a_discriminator_in_turns(tmp_path):
    asked.clear()
    played = play_system(
        "right_and_wrong",
        tmp_path,
        teach,
        ROWS[:5],
        held_out=ROWS[5:],
        models={"critic": "scratch:tiny"},
        steps=15,
        overrides={"rounds": 2, "draws": 3, "longest": 6},
    )
    assert len(played.bodies) == 15
    right = {row["rationale"] for row in played.rows("right")}
    assert not any(text.startswith("Nearly") for text in right)
    assert all(
        row["rationale"].startswith("Nearly") for row in played.rows("weak")
    )
    # Four questions, each with two right draws, a wrong one and a masked one.
    assert played.trained("first_judge")["rows"] == 16
    warm, judge = (str(played.folder(name)) for name in ("warm", "first_judge"))
    for n in range(2):
        assert played.trained("learn", n)["model"] == warm
        assert played.trained("judge", n)["model"] == judge
        warm = str(played.folder("learn", n))
        judge = str(played.folder("judge", n))
        said = {row["reply"] for row in played.rows("said", n)}
        learnt = played.rows("to_learn", n)
        towards = [
            r for r in learnt if r["task"] == "rationale" and r["weight"] > 0
        ]
        away = [r for r in learnt if r["weight"] < 0]
        assert {row["completion"] for row in towards} == right
        assert away
        for row in away:
            assert row["completion"] in said - right
            assert -1 <= row["weight"] < 0
        # What pushes away stands beside what it is pushed away from.
        assert {row["id"] for row in away} <= {row["id"] for row in towards}
    said = load("right_and_wrong").stage("said")
    assert said.student == "previous5.learn or first.learn or warm"
