"""What stages of a flow are told is read as their commands read it, before anything is asked or trained."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

import finetune.cli
from finetune.cli.flows import _check_settings
from finetune.flows.loading import flow_names, load
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.flows.test_flow import FLOW, folder_of

SHOWN = "{{ row.question }}"
KINDS = {
    "sft": {"train": "sft"},
    "rank": {"train": "rank"},
    "distill": {"train": "distill"},
    "evaluate": {"evaluate": "final_number"},
    "answer": {"answer": SHOWN},
}


TRAINS = {
    "name": "trains",
    "version": 1,
    "about": "Trains.",
    "before": [
        {"name": "learn", "train": "sft", "from": "input", "student": "student"}
    ],
}


def checked(tmp_path, kind, **said):
    stage = {"name": "extra", "from": "asked.kept", "student": "student"}
    raw = yaml.safe_load(FLOW)
    raw["rounds"]["stages"].append({**stage, **KINDS[kind]})
    overrides = {f"extra.{key}": value for key, value in said.items()}
    flow = load(folder_of(tmp_path / "f", yaml.safe_dump(raw)), overrides)
    _check_settings(flow, flow.stage("extra"))


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("sft", "max_steps", "two"),
        ("sft", "beta", 0.1),
        ("sft", "processes", 2),
        ("rank", "nope", 1),
        ("evaluate", "draws", "two"),
        ("evaluate", "draws", 0),
        ("evaluate", "nope", 1),
        ("answer", "temperature", -1),
        ("answer", "max_new_tokens", 0),
    ],
)
def test_a_setting_that_its_command_does_not_take(tmp_path, kind, key, value):
    with pytest.raises(WrongUse, match=r"flow.yaml:\d+ extra set"):
        checked(tmp_path, kind, **{key: value})


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("sft", "learning_rate", 1e-4),
        ("sft", "logging_strategy", False),
        ("rank", "margin", 0.5),
        ("evaluate", "gate", 0.5),
        ("answer", "temperature", 0),
        ("answer", "temperature", 1),
    ],
)
def test_a_setting_that_its_command_takes(tmp_path, kind, key, value):
    checked(tmp_path, kind, **{key: value})


@pytest.mark.parametrize("name", flow_names())
def test_built_in_flows_are_told_what_their_commands_take(name):
    flow = load(name)
    for stage in flow.spec.stages():
        _check_settings(flow, stage)


def test_ctrl_c_in_a_training_ends_with_its_code_and_what_goes_on(
    tmp_path, monkeypatch
):
    folder = folder_of(tmp_path / "f", yaml.safe_dump(TRAINS))
    source = write(
        tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}]
    )

    def interrupted(config, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("finetune.recipes.sft.run", interrupted)
    words = ["--input", source, "--student", "scratch:tiny"]
    words += ["--output", tmp_path / "out"]
    ended = CliRunner().invoke(
        finetune.cli.main, ["flow", str(folder), *map(str, words)]
    )
    assert ended.exit_code == 130
    assert "learn (before): interrupted; the same command" in ended.output
