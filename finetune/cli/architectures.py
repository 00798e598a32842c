"""Commands that train students of forms of their own: experts by task, vectors for
demonstrations.
"""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.shared import (
    EXTRA,
    interval,
    need,
    resume_option,
    rows_there,
    template_option,
    train,
    train_options,
)
from synth.cli.command_group import output_option, say


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


_SHOTS = click.option(
    "--shots",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Demonstrations of a row: others of its `task`; rows with `demonstrations` bring theirs.",
)


@click.command(context_settings=EXTRA)
@train_options
@resume_option
@click.option(
    "--compressor",
    metavar="M",
    help="A language model of the same tokenizer that reads demonstrations, or a folder of this "
    "command. Default: a copy of --model.",
)
@click.option(
    "--vectors",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="That stand for the demonstrations.",
)
@_SHOTS
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Times that a row comes, each time with other demonstrations.",
)
@click.option(
    "--likelihood",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the answers' cross-entropy beside what the model says with demonstrations.",
)
@click.pass_context
def demonstrations(ctx: click.Context, /, **options: Any) -> None:
    """Demonstrations become a few vectors before a question, for a language model that stays as it
    is.
    """
    need("trl")
    from finetune.recipes.demonstrations import DemonstrationsConfig  # noqa: PLC0415

    names = ("compressor", "vectors", "shots", "draws", "likelihood")
    made = DemonstrationsConfig(**{name: options.pop(name) for name in names})
    train("demonstrations", ctx, more={"demonstrations": made}, **options)


@click.command("evaluate-demonstrations")
@click.argument("compressor")
@click.option(
    "--data",
    "--input",
    "data",
    required=True,
    metavar="ROWS",
    callback=rows_there,
    help="Held-out rows: `prompt`, `completion`, and `task` or `demonstrations`.",
)
@output_option("For evaluation.json and predictions.jsonl.")
@click.option(
    "--shelf",
    metavar="ROWS",
    callback=rows_there,
    help="Rows that demonstrate. Default: the others of --input.",
)
@_SHOTS
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the choice of demonstrations.",
)
@click.option(
    "--model",
    metavar="M",
    help="That is asked. Default: the one that the vectors were learnt for.",
)
def evaluate_demonstrations(**options: Any) -> None:
    """Answers with the vectors of COMPRESSOR, with demonstrations, and with neither."""
    need("transformers")
    from finetune.measuring.demonstrations import (  # noqa: PLC0415
        WAYS,
        DemonstrationsEvaluation,
        run,
    )

    info = run(DemonstrationsEvaluation(**options))
    for way in WAYS:
        say(f"{way}: {info[way]['share']:.3f} {interval(info[way])}")
    say(
        f"{info['vector_count']} vectors for {info['demonstration_tokens']:.1f} tokens; vectors "
        f"beside none: p = {info['p']}"
    )
