"""Sci-CoT: the second student learns from what the first one says, not from the teacher."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

THINGS = {"iron": "metal", "oxygen": "gas", "oak": "tree", "trout": "fish"}
ROWS = [
    {
        "question": f"What is {thing} ?",
        "choices": ["a metal", "a gas", "a tree", "a fish"],
        "target": f"a {kind}",
    }
    for thing, kind in THINGS.items()
]


def explain(body, count):
    """The teacher says why, and the choice with its letter."""
    question = body["messages"][-1]["content"]
    thing = question.split("What is ")[1].split(" ?")[0]
    target = f"a {THINGS[thing]}"
    letter = "abcd"[ROWS[0]["choices"].index(target)]
    return chat(f"Everybody knows {thing} .\n#### ({letter}) {target}")


def test_the_second_student_learns_from_the_first_ones_explanations(tmp_path):
    played = play_system(
        "two_stages",
        tmp_path,
        explain,
        ROWS[:3],
        held_out=ROWS[3:],
        steps=60,
        # It says less than it was taught, which tells its words from the teacher's.
        overrides={"longest": 2},
    )
    taught = played.rows("to_explain")
    assert [row["completion"] for row in taught] == [
        f"Everybody knows {thing} ." for thing in list(THINGS)[:3]
    ]
    told = [row["reply"] for row in played.rows("explained")]
    assert all(told)
    assert not {*told} & {row["rationale"] for row in taught}
    second = played.rows("to_answer")
    # What the first student says stands in the prompt, where the teacher's words stood.
    for row, reply, first in zip(second, told, taught, strict=True):
        assert row["prompt"].endswith(f"(d) a fish\n{reply}\n")
        assert row["completion"] == row["target"]
        question = first["prompt"].rstrip().removeprefix("explain: ")
        assert row["prompt"].startswith(f"answer: {question}\n")
    # Each is a model of its own, made of the base, and the first one explains what is held out.
    for stage, data in (("explainer", "to_explain"), ("answerer", "to_answer")):
        info = played.trained(stage)
        assert info["model"] == "scratch:tiny"
        assert info["data"].startswith(str(played.folder(data)))
    (asked,) = played.rows("look")
    assert asked["prompt"].endswith(f"{played.rows('told')[0]['reply']}\n")
    assert len(played.bodies) == 3
