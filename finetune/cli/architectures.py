"""Commands that train students of forms of their own: experts by task."""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.shared import (
    EXTRA,
    need,
    resume_option,
    template_option,
    train,
    train_options,
)


@click.command(context_settings=EXTRA)
@train_options
@template_option
@resume_option
@click.option(
    "--experts",
    type=click.IntRange(2),
    default=4,
    show_default=True,
    help="Of each layer.",
)
@click.option(
    "--chosen",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Experts that a task uses.",
)
@click.option(
    "--balance",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Weight of an even use of experts.",
)
@click.pass_context
def experts(
    ctx: click.Context,
    /,
    experts: int,
    *,
    chosen: int,
    balance: float,
    **options: Any,
) -> None:
    """A decoder with experts that the `task` of a row chooses; the model of each task is written
    as a plain one.
    """
    need("trl")
    from finetune.recipes.experts import ExpertsConfig  # noqa: PLC0415

    made = ExpertsConfig(experts=experts, chosen=chosen, balance=balance)
    train("experts", ctx, more={"experts": made}, **options)
