"""What `finetune distill` teaches an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from finetune.core.rows import JsonObject
from synth.cli.command_group import together
from synth.cli.numbers import Number
from synth.core.errors import WrongUse


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--task, and how encoders learn theirs."""
    return together(
        click.option(
            "--task",
            type=click.Choice(["text", "mlm", "classify", "tokens"]),
            default="text",
            show_default=True,
            help="What is learnt: to write texts (a decoder); with an encoder masked words, "
            "classes of texts, classes of words.",
        ),
        click.option(
            "--masked",
            type=Number(0, 1, min_open=True, max_open=True),
            default=0.15,
            show_default=True,
            help="Share of the words that are masked (--task mlm).",
        ),
        click.option(
            "--likelihood-to",
            type=Number(min=0),
            metavar="WEIGHT",
            help="What --likelihood becomes by the end, in equal steps (encoders). Default: it "
            "stays.",
        ),
        click.option(
            "--teacher-state",
            type=click.Choice(["last", "mean"]),
            help="The teacher is a language model of any tokenizer, whose state of each text is "
            "learnt: that of its last token, or the mean (--task classify, with --likelihood and "
            "hidden_mse, rkd or mi_alpha).",
        ),
    )(command)


def state_in(options: JsonObject, task: str, *, pruned: bool) -> str | None:
    """What --teacher-state says, taken out of the options; None where it says nothing.

    Raises:
        WrongUse: no texts are classified, or the student is pruned; --likelihood-to of a decoder.
    """
    if options["likelihood_to"] is not None and task == "text":
        raise WrongUse(
            f"--likelihood-to {options['likelihood_to']:g}",
            "--task text",
            "an encoder of --task mlm, classify or tokens",
            "Name its task, or leave it out: a decoder's --likelihood stays.",
        )
    state: str | None = options.pop("teacher_state")
    if state is not None and (task != "classify" or pruned):
        beside = ", --sparsity" if pruned else ""
        raise WrongUse(
            f"--teacher-state {state}",
            f"--task {task}{beside}",
            "--task classify, and a student whose layers stay as they are",
            "Name that task, or leave the state out.",
        )
    return state
