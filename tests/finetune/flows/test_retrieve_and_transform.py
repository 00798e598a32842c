"""ReBase: rows near the examples and of a dataset near the task are transformed first, and none that is measured on is learnt."""

from __future__ import annotations

import json

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

TASK = "sums of hours that a train takes"
EXAMPLES = [
    {
        "task": TASK,
        "input": f"A train leaves at {n} and takes 2 hours . When is it there ?",
        "output": f"{n + 2} hours",
    }
    for n in (3, 4)
]
DATASETS = [
    {"dataset": "trips", "description": "hours that a train takes"},
    {"dataset": "cakes", "description": "recipes of cakes"},
    {"dataset": "tests", "description": TASK},
]
ROWS = [
    *(
        {"dataset": "cakes", "id": f"c{n}", "story": f"bake it {n} times"}
        for n in range(3)
    ),
    # Other columns than those of the other dataset, of which one is near.
    *(
        {
            "dataset": "trips",
            "id": f"t{n}",
            "plan": f"The train leaves at {n} and takes 3 hours",
            "who": "Ann",
        }
        for n in (6, 7, 8)
    ),
    {"dataset": "tests", "story": "A train leaves at 9 and takes 2 hours ."},
    {"dataset": "nobody described it", "story": "A train takes 2 hours ."},
]
HELD = [
    {
        "input": "The train leaves at 8 and takes 3 hours . When ?",
        "target": "11 hours",
    }
]


def teach(body, count):
    said = body["messages"][-1]["content"]
    if "How good an example" in said:
        return chat(
            json.dumps({"why": "So .", "fits": 1 if " 7 " in said else 5})
        )
    source = said.split("A ROW OF ANOTHER DATASET =====\n")[1]
    number = int(source.split("leaves at ")[1].split()[0])
    return chat(
        json.dumps(
            {
                "input": f"The train leaves at {number} and takes 3 hours . When ?",
                "rationale": f"{number} and 3 .",
                "answer": f"{number + 3} hours",
            }
        )
    )


def test_near_rows_of_fitting_datasets_are_transformed_and_learnt(tmp_path):
    played = play_system(
        "retrieve_and_transform",
        tmp_path,
        teach,
        ROWS,
        steps=4,
        overrides={"nearest": 3, "banned": "tests", "longest": 8},
        models={"encoder": "hashing"},
        datasets=DATASETS,
        examples=EXAMPLES,
        held_out=HELD,
    )
    near = played.rows("near")
    assert [row["dataset"] for row in near] == ["trips"] * 3
    assert set(near[0]["scores"]) == {"input", "output", "task"}
    # Both examples, the task and the whole row stand before the teacher.
    first = next(text for text in played.asked if "leaves at 6" in text)
    assert f"=====\n{TASK}\n" in first
    assert all(one["input"] in first for one in EXAMPLES)
    assert "plan: The train leaves at 6 and takes 3 hours\nwho: Ann\n" in first
    # 7 is wrong to the critic, and 8 is what is measured on.
    (learnt,) = played.rows("to_learn")
    assert (
        learnt["prompt"] == "The train leaves at 6 and takes 3 hours . When ?\n"
    )
    assert learnt["completion"] == (
        "<rationale>6 and 3 .</rationale>\n<answer>9 hours</answer>"
    )
    assert played.trained("learn")["model"] == "scratch:tiny"
    (look,) = played.rows("look")
    assert look["prompt"] == f"{HELD[0]['input']}\n"
    assert len(played.bodies) == 6
