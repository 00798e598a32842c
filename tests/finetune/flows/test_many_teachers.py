"""TinyLLM: each teacher's rationale is a task of its own, and the answer is asked for alone."""

from __future__ import annotations

from collections import Counter

import pytest

from finetune.flows.loading import load
from tests.conftest import chat, serving, write
from tests.finetune.flows.playing import Played, quick
from tests.finetune.flows.test_flow import play

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROWS = [
    {"question": f"What are {n} pens and 2 pens ?", "target": str(n + 2)}
    for n in range(1, 6)
]
# Two kinds of questions; the first row is an example too, and is not shown before itself.
for place, row in enumerate(ROWS):
    row["dataset"] = "odd" if place % 2 else "even"
EXAMPLES = [
    {**ROWS[0], "rationale": "Counted: three."},
    *(
        {
            "question": f"How many {kind} cups ?",
            "choices": ["1", "2"],
            "target": "2",
            "dataset": kind,
            "rationale": f"See the {kind} cup.",
        }
        for kind in ("odd", "even")
    ),
]


def test_two_teachers_are_asked_and_both_are_learnt(tmp_path):
    source = write(tmp_path / "input.jsonl", ROWS[:4])
    held = write(tmp_path / "held.jsonl", ROWS[4:])
    shown = write(tmp_path / "shown.jsonl", EXAMPLES)
    with serving(
        lambda body, count: chat(f"As {body['model']} says so .")
    ) as server:
        done = play(
            "many_teachers",
            tmp_path / "out",
            source,
            server.url,
            inputs={"held_out": str(held), "examples": str(shown)},
            models={"student": "scratch:tiny"},
            teachers={"one": "openai/one", "other": "openai/two"},
            overrides=quick("many_teachers", 2),
        )
        played = Played(tmp_path / "out", done, list(server.bodies))
    asked = Counter(body["model"] for body in played.bodies)
    assert asked == {"one": 4, "two": 4}
    # Examples are of the question's own dataset, and none is the question itself.
    for text in played.asked:
        question = text.rpartition("Question: ")[2].split("\n")[0]
        (row,) = (row for row in ROWS if row["question"] == question)
        other = "odd" if row["dataset"] == "even" else "even"
        assert f"See the {row['dataset']} cup." in text
        assert f"See the {other} cup." not in text
        counted = row["dataset"] == "even" and row is not ROWS[0]
        assert ("Counted: three." in text) == counted
    assert "(b) 2\nAnswer: 2\nWhy: See" in played.asked[0]
    learnt = played.rows("to_learn")
    said = {row["task"]: row["completion"] for row in learnt}
    assert said["first"] == "As one says so ."
    assert said["second"] == "As two says so ."
    assert Counter(row["task"] for row in learnt) == {
        "label": 4,
        "first": 4,
        "second": 4,
    }
    (row,) = played.rows("look")
    assert row["prompt"].startswith("predict: ")
    learn = load("many_teachers", {"weight_of_first": 0.25}).stage("learn")
    assert "first={{ weight_of_first }}" in str(learn.set["coefficients"])
