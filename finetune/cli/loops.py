"""`finetune mix`, `star`, `self-imitation`: several trainings in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from finetune.cli.shared import (
    EXTRA,
    flags,
    interval,
    need,
    numbers,
    pair,
)
from synth.cli.command_group import output_option, say
from synth.core.errors import WrongUse


@click.command(context_settings=EXTRA)
@click.option(
    "--data",
    "--input",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE=SHARE",
    help="Rows and their share; with --search files alone.",
)
@output_option("A .jsonl file; with --search a folder.", "FILE_OR_DIR")
@click.option(
    "--rows",
    "count",
    type=click.IntRange(1),
    help="Rows in all; else as many as the shares allow.",
)
@click.option(
    "--key",
    default="prompt",
    show_default=True,
    help="Column that says what an item is: each comes from one source alone.",
)
@click.option(
    "--search",
    "shares",
    default="",
    metavar="S,S,...",
    help="Train a student for each of these shares of the first source.",
)
@click.option(
    "--held-out",
    default="",
    metavar="FILE",
    help="For --search: rows to measure on.",
)
@click.option(
    "--model", default="", metavar="M", help="For --search: the student."
)
@click.pass_context
def mix(
    ctx: click.Context,
    /,
    *,
    sources: tuple[str, ...],
    output: Path,
    key: str,
    shares: str,
    **options: Any,
) -> None:
    """Mix row files by shares, each item from one of them; or search for the share that serves a
    student best.
    """
    from finetune.recipes import mix as recipe  # noqa: PLC0415
    from finetune.settings import TrainConfig  # noqa: PLC0415

    if not shares:
        if idle := [
            *ctx.args,
            *(
                f"--{name.replace('_', '-')}"
                for name in ("held_out", "model")
                if options[name]
            ),
        ]:
            raise WrongUse(
                "mix",
                f"{' '.join(idle)} without --search",
                "what mixing needs",
                "Give --search too, or leave it out.",
            )
        pairs = list(map(_source, sources))
        for (name, share), rows in zip(
            pairs,
            recipe.run(
                pairs,
                output,
                count=options["count"],
                key=key,
            ),
            strict=True,
        ):
            say(f"{rows:,} rows of {name} (share {share:g})")
        return
    held_out = options["held_out"]
    model = options["model"]
    if not held_out or not model:
        raise WrongUse(
            "mix --search",
            "no --held-out or no --model",
            "both",
            "Give rows to measure on and a student.",
        )
    config = TrainConfig(
        data="", model=model, output=output, trainer=flags(ctx.args)
    )
    for measured in recipe.search(
        sources,
        numbers(shares, "--search"),
        config,
        held_out,
        key=key,
    ):
        match = measured["exact_match"]
        say(
            f"share {measured['share']:g}: {measured['rows']:,} rows, exact match "
            f"{match['share']:.3f} {interval(match)}"
        )


def _source(text: str) -> tuple[str, float]:
    """A file and its share."""
    name, share = pair(text, "--data")
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise WrongUse(
            "--data",
            repr(text),
            "FILE=SHARE",
            "The share is a number, such as rows.jsonl=0.8.",
        )
    return name, float(share)


@click.command(context_settings=EXTRA)
@click.option(
    "--seeds",
    required=True,
    metavar="FILE",
    help="Questions with their right answers.",
)
@click.option(
    "--held-out",
    required=True,
    metavar="FILE",
    help="Rows to measure on, none of them a seed.",
)
@click.option(
    "--model",
    required=True,
    metavar="M",
    help="The base that every round trains anew.",
)
@output_option("For all rounds; the same again resumes.")
@click.option(
    "--teacher",
    metavar="T",
    help="Who writes the first round's rationales; the base model where none is named.",
)
@click.option(
    "--pack",
    default="star",
    show_default=True,
    help="A pack that keeps right rationales.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="At most.",
)
@click.option(
    "--growth",
    type=click.FloatRange(min=1),
    default=1.2,
    show_default=True,
    help="Times as many steps each round.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Rounds without a gain before it ends.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Longest answer when measuring.",
)
@click.pass_context
def star(ctx: click.Context, /, **options: Any) -> None:
    """STaR: the student's own right rationales train the base anew, round after round; give
    --max-steps of the first.
    """
    need("trl")
    from finetune.flows.star import StarConfig, run  # noqa: PLC0415

    for outcome in run(StarConfig(trainer=flags(ctx.args), **options)):
        match = outcome["exact_match"]
        facts = (
            f"{outcome['kept']:,} right rationales, {outcome['steps']:,} steps"
        )
        say(
            f"round {outcome['round']}: {facts}, exact match {match['share']:.3f} {interval(match)}"
        )


@click.command("self-imitation", context_settings=EXTRA)
@click.option(
    "--seeds", required=True, metavar="FILE", help="Rows for the pack."
)
@click.option(
    "--model", required=True, metavar="M", help="Who writes first, and learns."
)
@output_option("For all rounds; the same again resumes.")
@click.option(
    "--pack",
    default="generics_plain",
    show_default=True,
    help="A pack whose question is the student's own prompt.",
)
@click.option(
    "--teacher", metavar="T", help="Who writes in the first round instead."
)
@click.option(
    "--critic",
    "critics",
    multiple=True,
    metavar="ROLE=T",
    help="Who plays the pack's other roles.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="At most.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Rounds without a better share before it ends.",
)
@click.pass_context
def self_imitation(
    ctx: click.Context, /, critics: tuple[str, ...], **options: Any
) -> None:
    """I2D2: a model writes, a critic keeps what is good, the model learns it and writes again."""
    need("trl")
    from finetune.flows.self_imitation import ImitationConfig, run  # noqa: PLC0415

    roles = dict(pair(text, "--critic") for text in critics)
    for outcome in run(
        ImitationConfig(trainer=flags(ctx.args), critics=roles, **options)
    ):
        share = outcome["share"]
        sure = f"({share['share']:.3f}, 95 %: {share['low']:.3f} to {share['high']:.3f})"
        say(
            f"round {outcome['round']}: {outcome['kept']:,} of {outcome['asked']:,} draws kept "
            f"{sure}, {outcome['steps']:,} steps"
        )
