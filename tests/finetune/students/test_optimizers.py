"""Trainings whose optimizer goes on come to what one training comes to."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from finetune.data.going_on import FILE
from finetune.students.optimizers import steps_of
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

ROWS = [
    {"prompt": f"What is {n} + {n} ?", "completion": f"it is a {fact}"}
    for n, fact in enumerate(tiny.FACTS)
]


def train(folder, model, steps, *more, command="sft"):
    """A training whose every batch holds all rows; returns the weights."""
    data = write(folder.parent / "rows.jsonl", ROWS)
    code, said = finetune(
        *(command, "--data", data, "--model", model, "--output", folder),
        *("--max-steps", steps, "--per-device-train-batch-size", len(ROWS)),
        *("--learning-rate", "0.01", "--disable-tqdm", *more),
    )
    assert code == 0, said
    return load_file(str(folder / "model.safetensors"))


def apart(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_three_parts_are_one_training(tmp_path, schedule):
    how = ("--lr-scheduler-type", schedule, "--warmup-steps", "3")
    whole = train(tmp_path / "whole", tiny.causal(), 6, *how)
    model = tiny.causal()
    parts = (*how, "--keep-optimizer", "--steps-in-all", 6)
    for number in range(3):
        folder = tmp_path / f"part{number}"
        before = ("--optimizer-of", model) if number else ()
        learnt = train(folder, model, 2, *parts, *before)
        assert steps_of(str(folder)) == 2 * (number + 1)
        model = folder
    assert apart(whole, learnt) < 1e-5
    # Parts that begin anew are another training.
    model = tiny.causal()
    for number in range(3):
        folder = tmp_path / f"anew{number}"
        anew = train(folder, model, 2, *how)
        model = folder
    assert apart(whole, anew) > 1e-3
    assert not (model / FILE).exists()


def test_a_part_that_is_stopped_goes_on(tmp_path):
    parts = ("--keep-optimizer", "--steps-in-all", 6)
    first = tmp_path / "first"
    train(first, tiny.causal(), 3, *parts)
    more = (*parts, "--optimizer-of", first)
    whole = train(tmp_path / "second", first, 3, *more)
    saved = (*more, "--resume", "--save-strategy", "steps", "--save-steps", 1)
    stopped = tmp_path / "stopped"
    train(stopped, first, 1, *saved)
    learnt = train(stopped, first, 3, *saved)
    assert apart(whole, learnt) < 1e-5
    assert steps_of(str(stopped)) == 6
    one, other = (
        load_file(str(folder / FILE))
        for folder in (tmp_path / "second", stopped)
    )
    assert one.keys() == other.keys()
    assert all(
        torch.allclose(one[name], other[name], atol=1e-6) for name in one
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--optimizer-of", tiny.causal), "no optimizer.safetensors there"),
        (("--steps-in-all", "2"), "wanted at least 3"),
        (("--optimizer-of", "kept", "--steps-in-all", "5"), "behind 3"),
        (("--optimizer-of", "wide"), "of the same weights"),
        (("--optimizer-of", "kept", "--lr-scheduler-type", "reduce_lr_on_plateau", "--eval-strategy", "no"), ""),
        (("--keep-optimizer", "--sharding", "fsdp2"), "--sharding fsdp2"),
    ],
)  # fmt: skip
def test_what_cannot_go_on_is_refused(tmp_path, more, says):
    said = [word() if callable(word) else word for word in more]
    for name, model in (("kept", tiny.causal), ("wide", tiny.wide)):
        if name in said:
            train(tmp_path / name, model(), 3, "--keep-optimizer")
            said[said.index(name)] = tmp_path / name
    data = write(tmp_path / "rows.jsonl", ROWS)
    code, out = finetune(
        *("sft", "--data", data, "--model", tiny.causal()),
        *("--output", tmp_path / "out", "--max-steps", "3", *said),
    )
    assert code == 2, out
    assert says in out
    assert not list((tmp_path / "out").glob("model.safetensors"))
