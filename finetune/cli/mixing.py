"""`finetune mix`: rows by shares, and the search for the share that serves best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import (
    EXTRA,
    flags,
    interval,
    numbers,
    pair,
    rows_there,
)
from synth.cli.command_group import output_option, say
from synth.cli.numbers import Whole
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
    type=Whole(1),
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
    callback=rows_there,
    help="For --search: rows to measure on.",
)
@click.option(
    "--model", default="", type=MODEL, help="For --search: the student."
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
