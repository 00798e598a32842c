"""--rollout-url: the student's texts by a server that is given its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from finetune.core.rows import JsonObject
from finetune.rollouts.settings import Rollouts
from synth.cli.command_group import together
from synth.cli.numbers import Number, Whole
from synth.core.errors import WrongUse

# Option -> field of `Rollouts`.
_FIELDS = {
    "rollout_model": "model",
    "rollout_key_env": "key_env",
    "rollout_calls": "concurrency",
    "rollout_timeout": "timeout",
    "reload_command": "command",
    "reload_every": "every",
    "staleness": "staleness",
}


def rollout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The server, and how it is given weights."""
    return together(
        click.option(
            "--rollout-url",
            metavar="URL",
            help="Server (vLLM, SGLang, ...) that writes the student's texts and is given its "
            "weights as they change.",
        ),
        click.option(
            "--rollout-model",
            metavar="NAME",
            help="Its name of the student, where it serves several models.",
        ),
        click.option(
            "--rollout-key-env",
            metavar="VAR",
            help="Variable that holds its key.",
        ),
        click.option(
            "--rollout-calls",
            type=Whole(1),
            help="Texts that it writes at once. Default: 64.",
        ),
        click.option(
            "--rollout-timeout",
            type=Number(min=0, min_open=True),
            metavar="SECONDS",
            help="Longest wait for a text or a reload. Default: 600.",
        ),
        click.option(
            "--reload-every",
            type=Whole(1),
            metavar="STEPS",
            help="Steps after which it is given new weights. Default: 1.",
        ),
        click.option(
            "--staleness",
            type=Whole(0),
            metavar="STEPS",
            help="Steps that the weights of a text may be old; a step waits where they would be "
            "older. Default: one less than --reload-every.",
        ),
        click.option(
            "--reload-command",
            metavar="COMMAND",
            help="Gives the server the weights in {folder}, where it has no way of its own; "
            "{version} names them.",
        ),
    )(command)


def rollouts_in(options: JsonObject) -> Rollouts | None:
    """What `rollout_options` say, taken out of the options; None without --rollout-url.

    Raises:
        WrongUse: something of a server, and no server; a setting that cannot be used.
    """
    url = options.pop("rollout_url")
    given = {}
    for name, field in _FIELDS.items():
        value = options.pop(name)
        if value is not None:
            given[field] = value
            flag = f"--{name.replace('_', '-')} {value}"
            if not url:
                raise WrongUse(
                    flag,
                    "no --rollout-url",
                    "a server",
                    "Give that too, or leave the setting out: it would change nothing.",
                )
    if not url:
        return None
    made = Rollouts(url=url, **given)
    made.check()
    return made
