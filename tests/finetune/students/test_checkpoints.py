"""Which checkpoint a training goes on from: the last one that was written to its end, with an optimizer."""

from __future__ import annotations

import json

import pytest

from finetune.students.checkpoints import begun_at, resuming, step_of
from synth.core.errors import WrongUse


def checkpoint(folder, step, *names, state=None):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text("x")
    if state is not None:
        (path / "trainer_state.json").write_text(state)
    return path


def whole(folder, step):
    state = json.dumps({"global_step": step})
    return checkpoint(folder, step, "optimizer.pt", state=state)


def test_the_last_one_that_is_whole_is_taken(tmp_path):
    whole(tmp_path, 9)
    wanted = whole(tmp_path, 10)
    # Killed before its state was written, while it was, and one of weights alone.
    checkpoint(tmp_path, 11, "optimizer.pt")
    checkpoint(tmp_path, 12, "optimizer.pt", state='{"global_')
    checkpoint(tmp_path, 13, "model.safetensors", state='{"global_step": 13}')
    checkpoint(tmp_path, "old", "optimizer.pt", state='{"global_step": 99}')
    assert begun_at(True, tmp_path) == wanted
    assert step_of(wanted) == 10


@pytest.mark.parametrize("asked", [None, False])
def test_a_training_begins_anew_where_nothing_was_asked(tmp_path, asked):
    whole(tmp_path, 3)
    assert begun_at(asked, tmp_path) is None


def test_without_a_checkpoint_it_begins_anew_and_says_so(tmp_path, capsys):
    assert begun_at(True, tmp_path / "none") is None
    assert "begins anew" in capsys.readouterr().err


def test_a_folder_that_is_none_is_refused(tmp_path):
    part = checkpoint(tmp_path, 2, "optimizer.pt")
    with pytest.raises(WrongUse, match="--resume for the last one"):
        begun_at(str(part), tmp_path)
    with pytest.raises(WrongUse, match="--resume for the last one"):
        begun_at(str(tmp_path / "no"), tmp_path)
    assert begun_at(str(whole(tmp_path, 4)), tmp_path).name == "checkpoint-4"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, {"save_strategy": "epoch", "save_total_limit": 2}),
        (
            {"eval_steps": 5},
            {"save_strategy": "steps", "save_steps": 5, "save_total_limit": 2},
        ),
        ({"save_strategy": "steps", "save_steps": 7}, {}),
        ({"save_total_limit": 3}, {"save_strategy": "epoch"}),
    ],
)
def test_a_checkpoint_is_left_an_epoch_unless_more_is_said(given, made):
    wanted = {"resume_from_checkpoint": True, **made, **given}
    assert resuming(given) == wanted
