"""Generative Context Distillation: talks and single answers lose their context, reasons compare with what the base says without it, and three students are measured."""

from __future__ import annotations

from collections import Counter

import pytest

from finetune.flows.formulas import rendered
from finetune.flows.loading import load
from tests.conftest import chat
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

CONTEXT = "You sell lamps in Oslo and name no day ."
HELD = [
    {"context": CONTEXT, "question": "When is it here ?", "target": "Soon ."}
]


def teach(body, count):
    system = "\n".join(
        m["content"] for m in body["messages"] if m["role"] == "system"
    )
    said = body["messages"][-1]["content"]
    if "You invent" in system:
        return chat("1. Where is my lamp ?\n2. Is the red one dear ?")
    if any("You play a person" in m["content"] for m in body["messages"]):
        talked = sum(m["role"] == "assistant" for m in body["messages"])
        return chat("<end>" if talked > 1 else "And when ?")
    if "was asked the same twice" in said:
        return chat("It may name no day .")
    assert system == CONTEXT
    return chat(f"Reply to {len(body['messages'])} .")


def test_contexts_are_stripped_reasons_compare_and_three_are_measured(tmp_path):
    base = base_of(
        tmp_path,
        [
            {"prompt": f"{CONTEXT} Where is it ?\n", "completion": "At home"},
            {"prompt": "When or how dear ?\n", "completion": "On Monday"},
        ],
        20,
    )
    played = play_system(
        "context_distillation",
        tmp_path,
        teach,
        [{"context": CONTEXT}],
        overrides={"lists": 1, "talks": 1, "longest": 4},
        steps=3,
        models={"student": base},
        held_out=HELD,
    )
    learnt = played.rows("to_learn")
    behave = [row for row in learnt if row["task"] == "behaviour"]
    explain = [row for row in learnt if row["task"] == "context"]
    (talk,) = played.rows("talked", part="data")
    turns = [turn["content"] for turn in talk["chat"]]
    assert [turn["role"] for turn in talk["chat"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    # Two invented questions, and the second reply of the talk behind what was said before it.
    assert len(behave) == 3
    assert {row["prompt"] for row in behave} == {
        "Where is my lamp ?\n",
        "Is the red one dear ?\n",
        "\n".join(turns[:3]) + "\n",
    }
    assert not any(CONTEXT in row["prompt"] for row in learnt)
    assert behave[-1]["completion"] == turns[3]
    # Each reason stands with the context behind both answers; the other one is the base's own.
    replies = {
        row["question"]: row["reply"] for row in played.rows("unprompted")
    }
    assert len(explain) == 3
    for row in explain:
        assert row["completion"] == f"It may name no day .\n\n{CONTEXT}"
        question = next(
            q for q in replies if row["prompt"].startswith(f"{q}\n")
        )
        assert f"Another answer: {replies[question]}\n" in row["prompt"]
    asked = [text for text in played.asked if "asked the same twice" in text]
    assert len(asked) == 3
    assert played.trained("learn")["model"] == base
    spec = load("context_distillation").spec
    (learn,) = (stage for stage in spec.stages() if stage.train)
    weights = rendered(learn.set["coefficients"], spec.values, "learn")
    assert weights == "behaviour=0.7,context=0.3"
    models = {
        stage.name: stage.student
        for stage in spec.stages()
        if stage.kind == "evaluate"
    }
    assert models == {
        "look": "learn",
        "base_alone": "student",
        "base_told": "student",
    }
    (without,), (given,) = (
        played.rows("base_alone"),
        played.rows("base_told"),
    )
    assert without["prompt"] == "When is it here ?\n"
    assert given["prompt"] == f"{CONTEXT}\n\nWhen is it here ?\n"
    assert played.rows("look")[0]["prompt"] == without["prompt"]
    assert Counter(row["task"] for row in learnt)["behaviour"] == 3
