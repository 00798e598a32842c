"""SKIntern: knowledge and examples of other questions stand before a question in training, and nothing does at the end."""

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
    said = body["messages"][-1]["content"]
    number = int(said.split("What are ")[-1].split()[0])
    if "<knowledge>" in said:
        return chat(
            "<summary>Add both .</summary><knowledge>Sums grow .</knowledge>"
        )
    return chat(f"Both together .\n#### {number + 2}")


def test_what_helps_fades_to_nothing(tmp_path):
    played = play_system(
        "fading_knowledge",
        tmp_path,
        teach,
        ROWS[:5],
        held_out=ROWS[5:],
        overrides={"draws": 1, "longest": 8},
    )
    for row in played.rows("to_learn"):
        assert row["context"] == "Add both .\nSums grow ."
        assert len(row["examples"]) == 3
        assert not any(
            row["question"] in example for example in row["examples"]
        )
        assert all("#### " in example for example in row["examples"])
    info = played.trained("learn")
    assert info["stages"] == [1, 0.667, 0.333, 0]
    assert len(info["losses"]) == 4
    (asked,) = played.rows("look")
    assert asked["prompt"].strip() == ROWS[5]["question"]
    assert len(played.bodies) == 2 * 5
