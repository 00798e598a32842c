"""--sparsity: an encoder that is pruned while it is distilled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from finetune.core.rows import JsonObject
from finetune.trainers.pruning_settings import Pruning
from synth.cli.command_group import together
from synth.cli.numbers import Number
from synth.core.errors import WrongUse

# Option -> field of `Pruning`.
_FIELDS = {
    "sparsity_warmup": "warmup",
    "gate_rate": "rate",
    "match_layers": "match",
}


def pruning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How much is taken out of an encoder, and how."""
    return together(
        click.option(
            "--sparsity",
            type=Number(0, 1, min_open=True, max_open=True),
            metavar="SHARE",
            help="Take this share of the layers' weights out of a BERT (--task classify, tokens): "
            "heads, units, dimensions and whole layers (CoFi).",
        ),
        click.option(
            "--sparsity-warmup",
            type=Number(0, 1),
            metavar="SHARE",
            help="Share of the steps over which --sparsity grows from 0. Default: 0.2.",
        ),
        click.option(
            "--gate-rate",
            type=Number(min=0, min_open=True),
            help="Learning rate of what decides what stays. Default: 0.1.",
        ),
        click.option(
            "--match-layers",
            type=Number(min=0),
            metavar="WEIGHT",
            help="Also learn layers of the teacher, each by the nearest layer that is left. "
            "Default: 0.",
        ),
    )(command)


def pruning_in(options: JsonObject, task: str) -> Pruning | None:
    """What `pruning_options` say, taken out of the options; None without --sparsity.

    Raises:
        WrongUse: how, and not how much; or of a decoder.
    """
    sparsity = options.pop("sparsity")
    if sparsity is not None and task == "text":
        raise WrongUse(
            f"--sparsity {sparsity:g}",
            "--task text",
            "an encoder of --task classify or tokens",
            "Name its task, or take --model truncate:... of a decoder.",
        )
    given = {}
    for name, field in _FIELDS.items():
        value = options.pop(name)
        if value is not None:
            given[field] = value
            if sparsity is None:
                raise WrongUse(
                    f"--{name.replace('_', '-')} {value:g}",
                    "no --sparsity",
                    "how much is taken out",
                    "Give that too, or leave the setting out: it would change nothing.",
                )
    return None if sparsity is None else Pruning(sparsity=sparsity, **given)
