"""`finetune evaluate`: what a student can do."""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.shared import (
    interval,
    need,
)
from finetune.data.prompts import TEMPLATES
from synth.cli.command_group import output_option, say


@click.command()
@click.option(
    "--data",
    "--input",
    "data",
    required=True,
    metavar="DIR",
    help="Rows with `target` (or `answer`) and `prompt` (or `question`).",
)
@click.option(
    "--model", required=True, metavar="M", help="A path or a hub name."
)
@output_option("For evaluation.json and predictions.jsonl.")
@click.option(
    "--parser",
    default="final_number",
    show_default=True,
    help="Reads the student's text.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Longest answer.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Prompts side by side.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@click.option(
    "--before",
    metavar="M",
    help="A model that speaks first: to `before`, its reply for {before} in `prompt`.",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Answers a row, voted on.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=0.7,
    show_default=True,
    help="Of the draws.",
)
@click.option(
    "--ranker",
    metavar="DIR",
    help="A critic of `finetune critic` that weighs the votes.",
)
@click.option(
    "--weigh",
    type=click.Choice(["1", "s", "1+s", "1+2s"]),
    default="1+s",
    show_default=True,
    help="What a vote weighs; s is the ranker's score.",
)
@click.option(
    "--forms",
    metavar="FILE",
    help="YAML of forms of thought (programs, equations, words), each with a cue.",
)
@click.option(
    "--combine",
    type=click.Choice(["fallback", "vote"]),
    default="fallback",
    show_default=True,
    help="Of the forms' answers.",
)
@click.option(
    "--gate",
    type=click.FloatRange(0, 1),
    help="Leave a row's `knowledge` out where the student is surer than this.",
)
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    help="Of the prompts; else the form in which the student was trained.",
)
def evaluate(**options: Any) -> None:
    """Exact match on held-out rows, with a 95 % interval."""
    need("transformers")
    from finetune.measuring.evaluate import EvaluateConfig, run  # noqa: PLC0415

    info = run(EvaluateConfig(**options))
    for name in (
        "exact_match",
        "steps_right",
        *(name for name in ("vote", "fallback", "any_right") if name in info),
    ):
        share = info[name]
        say(f"{name}: {share['share']:.3f} {interval(share)}")
    if info["tainted"]:
        say(
            f"tainted: the teacher of this student may have seen {', '.join(info['tainted'])}; "
            "measure on other data too",
            err=True,
        )
    say(f"{info['unreadable']:,} of {info['rows']:,} replies unreadable")
