"""Robust Active Distillation: margins and the teacher's own errors say what is asked next, and nothing is asked twice."""

from __future__ import annotations

import pytest

from finetune.flows.selecting import robust_weights
from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

WORDS = {"praise": "good", "blame": "bad"}
THINGS = ("soup", "bread", "room", "lamp", "bed", "door", "wine", "view")
INPUT = [
    {"text": f"the {thing} is {word} ."}
    for thing in THINGS
    for word in WORDS.values()
]
LABELLED = [
    {"text": f"a {thing} , {word} !", "label": label}
    for label, word in WORDS.items()
    for thing in ("pen", "cup")
]
VALIDATION = [
    {"text": f"the {thing} is {word} now .", "label": label}
    for label, word in WORDS.items()
    for thing in ("sea", "sun")
]


def teach(body, count):
    text = body["messages"][-1]["content"].split("Text: ")[1].split("\n")[0]
    # It errs on one of the four rows that it is measured on.
    label = (
        "praise" if "good" in text or text.startswith("the sun") else "blame"
    )
    return chat(f"<read_label>{label}</read_label>")


def test_what_is_hard_is_asked_within_reason(tmp_path):
    played = play_system(
        "robust_active",
        tmp_path,
        teach,
        INPUT,
        labelled=LABELLED,
        validation=VALIDATION,
        steps=6,
        overrides={"rounds": 2, "queries": 4},
    )
    assert played.phase()["agreed"]["rows"] == 3
    asked = []
    for n in range(2):
        scored = played.rows("scored", n)
        assert len(scored) == len(INPUT) - 4 * n
        gains = [1 - row["margin"] for row in scored]
        weights = dict(
            zip(
                [row["text"] for row in scored],
                robust_weights(gains, 0.25, 4),
                strict=True,
            )
        )
        drawn = [row["text"] for row in played.rows("drawn", n)]
        assert len(drawn) == 4
        assert all(weights[text] > 0 for text in drawn)
        asked += drawn
        assert played.trained("learn", n)["model"] == "scratch:tiny"
    assert len(set(asked)) == 8
    assert len(played.bodies) == len(VALIDATION) + 8
    learnt = {
        row["text"]: row["completion"] for row in played.rows("to_learn", 1)
    }
    answered = {row["text"]: row["label"] for row in played.rows("answered", 0)}
    assert learnt == {
        **{row["text"]: row["label"] for row in LABELLED},
        **answered,
    }
