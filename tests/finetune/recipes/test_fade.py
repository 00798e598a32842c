"""The context fades to exactly nothing, the most telling sentences last; a real small training through all stages."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from finetune.recipes.fade import faded, run, salience, staged
from finetune.settings import TrainConfig
from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.runs.publisher import RunFolder
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune

TEXTS = st.lists(
    st.sampled_from(
        [
            "Add it.",
            "Area is length times width.",
            "Be careful.",
            "Halve the sum.",
        ]
    ),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(TEXTS, st.floats(0, 1), st.floats(0, 1))
def test_less_share_leaves_part_of_what_more_leaves(text, one, two):
    low, high = sorted((one, two))
    weights = salience([text])
    less, more = (
        faded(text, share, weights).split("\n") for share in (low, high)
    )
    assert faded(text, 0, weights) == ""
    assert faded(text, 1, weights).replace("\n", " ") == text
    assert len(less) <= len(more) or less == [""]
    assert all(less.count(part) <= more.count(part) for part in less if part)


def test_the_last_stage_has_the_prompt_alone():
    row = {
        "context": "Area is length times width.",
        "prompt": "What?\n",
        "completion": "12",
    }
    draw = random.Random(0)
    assert staged(row, 0.0, {}, draw) == {
        "prompt": "What?\n",
        "completion": "12",
    }
    assert staged(row, 1.0, {}, draw)["prompt"].startswith("Area")
    shown = {**row, "examples": ["e0", "e1", "e2"]}
    prompts = [
        staged(shown, share, {}, draw)["prompt"]
        for share in (1.0, 2 / 3, 1 / 3, 0.0)
    ]
    assert [
        sum(f"e{n}\n\n" in prompt for n in range(3)) for prompt in prompts
    ] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "stages", [(1.0, 0.5), (0.5, 1.0, 0.0), (), (2.0, 0.0)]
)
def test_schedules_that_do_not_end_at_nothing_are_refused(tmp_path, stages):
    with pytest.raises(WrongUse, match="--stages"):
        run(
            TrainConfig(data="x", model="scratch:tiny", output=tmp_path),
            stages=stages,
        )


@pytest.mark.slow
def test_pack_export_and_training(tmp_path):
    inputs = {
        "question": "A wall is 4 m by 3 m. What is its area?",
        "target": "12",
    }
    synth.run(
        "fading_knowledge",
        [inputs],
        teacher="rehearsed/fading_knowledge",
        output=tmp_path / "run",
    )
    folder = RunFolder(tmp_path / "run")
    made = list(
        registry.build("synth.exports", "faded").rows(folder, pack_of(folder))
    )
    assert made[0]["context"] not in made[0]["prompt"]
    write(
        tmp_path / "rows.jsonl",
        [
            {**row, "prompt": f"{n} {row['prompt']}"}
            for row in made
            for n in range(24)
        ],
    )
    words = [
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "student",
        "--stages",
        "1,0.5,0",
        *FAST,
    ]
    code, said = finetune("fade", *words)
    assert code == 0, said
    info = json.loads((tmp_path / "student" / "train.json").read_text())
    assert len(info["losses"]) == 3
    # Nothing that is said of a stage breaks where the folder is moved.
    for part in ("student", "student/stage0", "student/stage1"):
        record = json.loads((tmp_path / part / "train.json").read_text())
        assert record["model"] == "scratch:tiny"
        assert record["data"] == str(tmp_path / "rows.jsonl")
    assert info["losses"][2] < info["losses"][0]
    assert "length" not in (tmp_path / "student" / "stage2.jsonl").read_text()
