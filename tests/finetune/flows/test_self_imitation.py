"""Self-imitation: what rules and a large critic keep is learnt, and each round goes on from the last one's student."""

from __future__ import annotations

import json

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

CONCEPTS = [
    {"concept": concept, "frame": "are"}
    for concept in ("Dogs", "Cats", "Cows", "Hens", "Pigs", "Bees")
]


def answer(body, count):
    """As a writer it finishes the line, as a critic it finds all true but what is said of cats."""
    text = body["messages"][-1]["content"]
    if "truth" in text:
        return chat(json.dumps({"truth": 0.1 if "Cats" in text else 0.9}))
    return chat("kind animals")


@pytest.mark.long
@pytest.mark.slow
def test_each_round_goes_on_from_the_student_before(tmp_path):
    played = play_system(
        "self_imitation",
        tmp_path,
        answer,
        CONCEPTS,
        steps=60,
        overrides={
            "patience": 9,
            "written.write.draws": 1,
            "written.write.temperature": 0.0,
            "written.write.max_tokens": 4,
        },
    )
    first, second = (played.phase(n) for n in range(2))
    assert (first["written"]["asked"], first["written"]["kept"]) == (6, 5)
    assert second["written"]["kept"] >= 4
    models = [played.trained("learn", n)["model"] for n in range(2)]
    assert models == ["scratch:tiny", str(played.folder("learn", 0))]
    run = json.loads((played.folder("written", 1) / "run.json").read_text())
    teachers = run["settings"]["teachers"]
    assert teachers["teacher"] == f"local/{played.folder('learn', 0)}"
    assert teachers["critic"] == "openai/m"
    # The writer is asked in the first round alone, the critic of each statement once.
    critic = [asked for asked in played.asked if "truth" in asked]
    assert len(played.asked) - len(critic) == 6
    assert len({*critic}) == len(critic) >= 6
