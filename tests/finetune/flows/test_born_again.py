"""Born again: each student begins at the base and is taught by the one before it; the rounds end when none is better."""

from __future__ import annotations

import pytest

from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {
        "question": f"What is {n} and 2 ?",
        "rationale": f"{n} and 2 .",
        "target": str(n + 2),
    }
    for n in range(6)
]


def test_each_student_is_taught_by_the_one_before_it(tmp_path):
    base = base_of(
        tmp_path,
        [
            {
                "prompt": f"{row['question']}\n",
                "completion": f"{row['rationale']}\n#### {row['target']}",
            }
            for row in ROWS
        ],
        2,
    )
    played = play_system(
        "born_again",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        ROWS,
        steps=2,
        overrides={"longest": 2, "rounds": 9},
        models={"student": base},
        held_out=ROWS[:2],
    )
    first = played.trained("first_one")
    assert first["model"] == base
    teachers = [str(played.folder("first_one"))]
    for n in range(2):
        info = played.trained("learn", n)
        assert info["model"] == base
        assert info["teachers"] == teachers[-1:]
        teachers.append(str(played.folder("learn", n)))
    # Students of two words never get better: one round is the best one, and one more is waited for.
    assert len(played.done["rounds"]) == 2
    assert "without a better measure" in played.done["ended"]
    assert (
        played.rows("alone")[0]["prompt"] == played.rows("look", 1)[0]["prompt"]
    )
