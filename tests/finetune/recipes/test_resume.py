"""A training that is ended anywhere and started again comes to the weights of one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from finetune.teachers.selection import Selection
from tests import tiny
from tests.conftest import rest_long, write
from tests.finetune.test_train import finetune

STEPS = [
    *("--learning-rate", "1e-2", "--logging-steps", 1, "--disable-tqdm"),
]
BATCH = ["--per-device-train-batch-size", 2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows")
    rows = [
        {
            "prompt": f"What is {n} + {n % 7} ?\n",
            "completion": f"it is a {fact}",
        }
        for n, fact in enumerate(tiny.FACTS * 2)
    ]
    write(out / "held.jsonl", rows[12:])
    return write(out / "rows.jsonl", rows[:12])


def words(command, data, out, *more):
    teacher = ["--teacher", tiny.other()] if command == "distill" else []
    batch = [] if "--tokens-per-batch" in more else BATCH
    given = [
        *(command, "--data", data, "--model", tiny.causal()),
        *("--output", out, *teacher, *STEPS, *batch, *more),
    ]
    return list(map(str, given))


def trained(command, data, out, *more):
    code, said = finetune(*words(command, data, out, *more))
    assert code == 0, said
    return said


def same_weights(one, two):
    weights = load_file(one / "model.safetensors")
    others = load_file(two / "model.safetensors")
    assert set(weights) == set(others)
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


SAVED = ["--max-steps", 10, "--save-strategy", "steps", "--save-steps", 4]
OWN = ["--on-policy", 0.9, "--new-tokens", 4]


# Six steps are an epoch: a checkpoint at 4 stands amid one.
@pytest.mark.parametrize(
    ("command", "more"),
    rest_long(
        [
            ("distill", ["--schedule", "decreasing", "--replay", 3, *OWN]),
            ("sft", ["--lora", "r=2,target_modules=all-linear"]),
            ("distill", ["--tokens-per-batch", 40]),
            ("sft", []),
            (
                "distill",
                ["--loss", "taid", "--loss", "jsd=1:schedule=linear", *OWN],
            ),
            (
                "distill",
                [
                    *("--schedule", "adaptive", "--hold-out", 0.2),
                    *("--validate-every", 2, *OWN),
                ],
            ),
            (
                "distill",
                ["--teacher", tiny.causal(2), "--weigh", "reinforced"],
            ),
        ],
        3,
    ),
)
def test_it_comes_to_the_same_weights_from_amid_an_epoch(
    data, tmp_path, command, more
):
    trained(command, data, tmp_path / "whole", *SAVED, *more)
    again = tmp_path / "again" / "checkpoints" / "checkpoint-4"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-4", again)
    trained(command, data, tmp_path / "again", *SAVED, *more, "--resume")
    if "--lora" in more:
        one, two = (
            load_file(tmp_path / name / "adapter_model.safetensors")
            for name in ("whole", "again")
        )
        assert all(torch.equal(one[name], two[name]) for name in one)
    else:
        same_weights(tmp_path / "whole", tmp_path / "again")
    infos = [
        json.loads((tmp_path / name / "train.json").read_text())
        for name in ("whole", "again")
    ]
    assert infos[1]["resumed_at"] == 4
    assert "resumed_at" not in infos[0]
    assert infos[1]["steps"] == 10
    # The mean of six steps, not their sum over ten.
    state = tmp_path / "again" / "checkpoints" / "checkpoint-10"
    logs = json.loads((state / "trainer_state.json").read_text())["log_history"]
    losses = [log["loss"] for log in logs if "loss" in log and log["step"] > 4]
    assert infos[1]["loss"] == pytest.approx(sum(losses) / 6, rel=1e-3)


def test_measurements_and_patience_go_on_too(data, tmp_path):
    held = ["--held-out", data.parent / "held.jsonl", "--eval-steps", 2]
    stop = ["--keep-best", "--patience", 3, *SAVED]
    trained("sft", data, tmp_path / "whole", *held, *stop)
    again = tmp_path / "again" / "checkpoints"
    name = "checkpoint-4"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / name, again / name)
    shutil.copy(tmp_path / "whole" / "held_out.jsonl", tmp_path / "again")
    trained("sft", data, tmp_path / "again", *held, *stop, "--resume")
    infos = [
        json.loads((tmp_path / name / "train.json").read_text())["held_out"]
        for name in ("whole", "again")
    ]
    assert infos[0]["measured"] == infos[1]["measured"]
    assert infos[0]["best"] == infos[1]["best"]
    lines = [
        (tmp_path / name / "held_out.jsonl").read_text()
        for name in ("whole", "again")
    ]
    assert lines[0] == lines[1]


def test_the_same_command_again_has_nothing_left_to_do(data, tmp_path):
    more = ["--num-train-epochs", 1, "--resume"]
    assert "begins anew" in trained("sft", data, tmp_path / "s", *more)
    before = load_file(tmp_path / "s" / "model.safetensors")
    said = trained("sft", data, tmp_path / "s", *more)
    assert "goes on from step 6" in said
    assert "6 steps, none left" in said
    after = load_file(tmp_path / "s" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_policy_over_teachers_goes_on_from_its_state():
    one, two = Selection(2, seed=1), Selection(2, seed=9)
    table = torch.tensor([[1.0, 2.0], [3.0, 0.5]])
    for reward in (-1.0, -0.5):
        one.choose(table, table)
        one.learn(reward)
    two.load(one.state())
    for reward in (-2.0, -0.1):
        assert torch.equal(one.choose(table, table), two.choose(table, table))
        one.learn(reward)
        two.learn(reward)
    assert torch.equal(one.weights, two.weights)


def killed(command, data, out, *more):
    """Starts a training and kills it where its first checkpoint is whole."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "finetune.cli",
            *words(command, data, out, *more),
        ],
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = out / "checkpoints" / "checkpoint-4" / "trainer_state.json"
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.long
@pytest.mark.parametrize("command", ["sft", "distill"])
def test_a_training_that_is_killed_goes_on(data, tmp_path, command):
    more = ["--replay", 3, *OWN] if command == "distill" else []
    steps = [*SAVED, "--max-steps", 60, *more, "--resume"]
    code = killed(command, data, tmp_path / "again", *steps)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "again" / "train.json").exists()
    said = trained(command, data, tmp_path / "again", *steps)
    assert "goes on from step" in said
    trained(command, data, tmp_path / "whole", *steps)
    same_weights(tmp_path / "whole", tmp_path / "again")
