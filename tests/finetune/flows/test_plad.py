"""PLaD: the student's side of each pair is what it says now; where its answer is the teacher's there is no pair."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {"question": f"What are {n} pens and 2 pens ?", "target": str(n + 2)}
    for n in range(1, 7)
]


def teach(body, count):
    number = int(
        body["messages"][-1]["content"].split("What are ")[-1].split()[0]
    )
    return chat(f"Both together .\n#### {number + 2}")


def test_each_round_ranks_the_teacher_over_what_the_student_says_now(tmp_path):
    played = play_system(
        "plad",
        tmp_path,
        teach,
        ROWS[:5],
        held_out=ROWS[5:],
        steps=25,
        overrides={
            "rounds": 2,
            "longest": 8,
            "temperature": 1.5,
            "learn.max_steps": 2,
        },
    )
    assert len(played.bodies) == 5
    before = played.folder("imitate")
    for n in range(2):
        assert played.trained("learn", n)["model"] == str(before)
        before = played.folder("learn", n)
        said = played.rows("said", n)
        assert len(said) == 10
        other = {row["reply"] for row in said if row["answer"] != row["target"]}
        pairs = played.rows("pairs_of_texts", n)
        assert pairs
        for pair in pairs:
            number = int(pair["id"].split()[2])
            assert pair["chosen"] == f"Both together .\n#### {number + 2}"
            assert pair["rejected"] in other
    first, second = (
        [row["reply"] for row in played.rows("said", n)] for n in range(2)
    )
    assert first != second
