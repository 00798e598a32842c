"""How a teacher in this process is opened: options of `distill` and `teach`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from finetune.core.rows import JsonObject
from finetune.teachers.opened_settings import Opening
from synth.cli.command_group import together
from synth.core.errors import WrongUse


def opening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a teacher in this process is opened."""
    return together(
        click.option(
            "--teacher-dtype",
            metavar="DTYPE",
            help="Number type of the teacher: bfloat16, float16, float32.",
        ),
        click.option(
            "--teacher-device",
            metavar="DEVICE",
            help="Device of the teacher: cpu, cuda:1; auto cuts it over all that there are.",
        ),
        click.option(
            "--teacher-bits",
            type=click.Choice(["8", "4"]),
            help="Round the teacher's weights as they are read (bitsandbytes).",
        ),
        click.option(
            "--teacher-gguf",
            metavar="FILE",
            help="GGUF file in the teacher's folder.",
        ),
        click.option(
            "--teacher-attention",
            metavar="NAME",
            help="Attention of the teacher: eager, sdpa, flash_attention_2.",
        ),
        click.option(
            "--teacher-revision",
            metavar="REV",
            help="Branch, tag or commit of a teacher on the hub.",
        ),
    )(command)


def opening_in(options: JsonObject) -> Opening:
    """What `opening_options` say, taken out of the options."""
    names = ("dtype", "device", "gguf", "attention", "revision")
    given = {name: options.pop(f"teacher_{name}") for name in names}
    bits = options.pop("teacher_bits")
    return Opening(bits=int(bits) if bits else None, **given)


def check_unopened(opening: Opening) -> None:
    """Refuses what says how a model is opened, where none is.

    Raises:
        WrongUse: the first such option.
    """
    for flag, value in opening.given():
        raise WrongUse(
            f"{flag} {value}",
            "no --teacher",
            "a model that is opened here",
            "Leave it out.",
        )
