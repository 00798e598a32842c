"""A plan counts what a run is told, and refuses what the flow would refuse; so does the flow, before its first call."""

from __future__ import annotations

import json

import pytest
import yaml

from finetune.flows.planning import describe
from finetune.flows.player import check_reach
from synth.core.errors import WrongUse
from synth.pipeline.preview import journal_counts
from tests.conftest import serving, write
from tests.finetune.flows.test_flow import (
    FLOW,
    answered,
    config,
    folder_of,
    play,
    source,
)

__all__ = ["source"]


def learning(tmp_path):
    """The flow with a student that learns and is measured in each round."""
    raw = yaml.safe_load(FLOW)
    raw["inputs"] = {"held_out": "Rows to measure on."}
    raw["rounds"]["stages"] += [
        {
            "name": "learn",
            "train": "sft",
            "from": "short.kept",
            "student": "student",
            "set": {"max_steps": "{{ 10 + round }}"},
        },
        {
            "name": "look",
            "evaluate": "whole",
            "from": "held_out",
            "student": "learn",
        },
    ]
    return folder_of(tmp_path / "grow", yaml.safe_dump(raw))


def given(tmp_path, questions=("a",), student="scratch:tiny"):
    rows = [{"question": text, "target": "yes"} for text in questions]
    held = write(tmp_path / "held.jsonl", rows)
    return {
        "inputs": {"held_out": str(held)},
        "models": {"student": student},
    }


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        ({}, 8),
        ({"asked.draws": 3}, 24),
        ({"asked.limit": 5}, 5),
        ({"asked.limit": 5, "asked.draws": 3}, 15),
        ({"asked.target": 5, "asked.max_draws": 4}, 32),
        ({"asked.answer.draws": 2}, 16),
    ],
)
def test_a_plan_counts_what_a_run_is_told(tmp_path, source, said, calls):
    folder = folder_of(tmp_path / "grow")
    overrides = {"rounds": 1, **said}
    told = config(folder, tmp_path / "out", source, overrides=overrides)
    assert f"in all: at most {calls} calls" in describe(told)


def test_a_plan_says_the_steps_of_the_rounds_it_counts(tmp_path, source):
    folder = learning(tmp_path)
    told = config(folder, tmp_path / "out", source, **given(tmp_path))
    first, later = describe(told).split("each later round")
    assert "10 steps" in first
    assert "11 to 12 steps" in later


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"asked.drws": 3}, "Did you mean draws"),
        ({"asked.budget": 3}, "asked set.budget"),
        ({"asked.answer.drws": 3}, "asked set.answer.drws"),
        ({"asked.answer.draws": 0}, "draws"),
    ],
)
def test_a_run_is_told_what_it_has_before_a_call(tmp_path, source, said, match):
    folder = folder_of(tmp_path / "grow")
    with serving(answered) as server:
        with pytest.raises(WrongUse, match=match):
            play(folder, tmp_path / "out", source, server.url, overrides=said)
        assert not server.bodies


def test_a_size_that_there_is_not_is_said_before_a_call(tmp_path, source):
    folder = learning(tmp_path)
    more = given(tmp_path, student="scratch:tinny")
    told = config(folder, tmp_path / "out", source, "http://x", **more)
    for look in (check_reach, describe):
        with pytest.raises(WrongUse, match=r"--student: .*Did you mean tiny"):
            look(told)


def test_a_plan_is_not_made_over_another_flows_folder(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    out = tmp_path / "out"
    out.mkdir()
    (out / "flow.json").write_text('{"flow": "another", "rounds": []}')
    with pytest.raises(WrongUse, match="another"):
        describe(config(folder, out, source))


@pytest.mark.parametrize(
    ("questions", "shared"), [(("a", "b"), 0), (("a", "qx", "qxx"), 2)]
)
def test_rows_to_measure_on_that_stand_in_the_input_are_counted(
    tmp_path, source, questions, shared
):
    folder = learning(tmp_path)
    more = given(tmp_path, questions)
    plan = describe(config(folder, tmp_path / "out", source, **more))
    text = f"{shared} of {len(questions)} rows stand in --input"
    assert (text in plan) == (shared > 0)


def test_a_misspelt_name_is_told_before_one_that_is_missing(tmp_path, source):
    folder = learning(tmp_path)
    more = {"inputs": {"heldout": str(source)}}
    with pytest.raises(WrongUse, match=r"'heldout'.*Did you mean held_out"):
        config_and_check(folder, tmp_path / "out", source, **more)


def config_and_check(*args, **more):
    from finetune.flows.player import check

    check(config(*args, **more))


def test_a_cost_that_nobody_knows_is_not_nothing(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    out = tmp_path / "out"
    options = {"run": {"price": {}}, "overrides": {"rounds": 1}}
    with serving(answered) as server:
        done = play(folder, out, source, server.url, **options)
    assert done["usd"] is None
    card = (out / "README.md").read_text()
    assert "calls cost: price unknown" in card
    assert "None" not in card
    assert json.loads((out / "flow.json").read_text())["usd"] is None
    run = out / done["rounds"][0]["asked"]["folder"]
    assert "spent: price unknown" in journal_counts(run, None)
