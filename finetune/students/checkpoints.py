"""Checkpoints that a training can go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from finetune.core.rows import JsonObject
from synth.cli.command_group import say
from synth.core.errors import WrongUse

# What a trainer writes of its steps, beside a checkpoint and beside a student.
STATE = "trainer_state.json"
# How the files of an optimizer begin, also of those that several processes share.
_OPTIMIZERS = ("optimizer", "global_step")


def resuming(trainer: Mapping[str, object]) -> JsonObject:
    """Fields of a training that goes on where an earlier one stopped, and leaves what it takes:
    one checkpoint an epoch, or a measurement, where nothing else is said.

    Args:
        trainer: fields that are given, which overrule these.
    """
    made: JsonObject = {"resume_from_checkpoint": True}
    if "save_strategy" not in trainer:
        made |= {"save_strategy": "epoch", "save_total_limit": 2}
        if trainer.get("eval_steps"):
            made["save_strategy"] = "steps"
            made["save_steps"] = trainer["eval_steps"]
    return {**made, **trainer}


def begun_at(resume: object, folder: Path) -> Path | None:
    """The checkpoint that a training goes on from.

    Args:
        resume: a folder; True for the last one that is whole; None or False for none.
        folder: of a training's checkpoints.

    Returns:
        None where a training begins anew, which is said where a checkpoint was asked for.

    Raises:
        WrongUse: a folder that is no checkpoint, or holds no optimizer.
    """
    if resume is None or resume is False:
        return None
    if resume is not True:
        given = Path(str(resume))
        if not is_whole(given):
            raise WrongUse(
                f"--resume-from-checkpoint {given}",
                f"no {STATE} or no optimizer in it",
                "a checkpoint that a training can go on from",
                "Name another one, or give --resume for the last one.",
            )
        return given
    steps = {}
    for path in folder.glob("checkpoint-*"):
        number = path.name.rpartition("-")[2]
        if number.isdigit() and is_whole(path):
            steps[int(number)] = path
    if not steps:
        say(f"no checkpoint in {folder}: the training begins anew", err=True)
        return None
    last = max(steps)
    say(f"goes on from step {last:,}", err=True)
    return steps[last]


def cut(log: Path, below: int) -> None:
    """Takes the lines of steps from `below` on out of a log that an earlier training left; one that
    goes on writes them again. The file and its folder are made where there are none.

    Args:
        log: file of JSON lines, each with its `step`.
        below: 0 takes all lines out.
    """
    kept = []
    if below and log.is_file():
        lines = log.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["step"] < below]
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: its state, which comes last, can be read.

    One of weights alone is none that a training can go on from.
    """
    return bool(step_of(checkpoint)) and any(
        path.name.startswith(_OPTIMIZERS) for path in checkpoint.iterdir()
    )


def step_of(checkpoint: Path | None) -> int:
    """The step at which a checkpoint was written; 0 where that cannot be read."""
    if checkpoint is None:
        return 0
    try:
        text = (checkpoint / STATE).read_text(encoding="utf-8")
        return int(json.loads(text)["global_step"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0
