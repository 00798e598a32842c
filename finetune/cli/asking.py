"""How a student is asked: what `finetune evaluate` and `serve` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import only_with, rows_there
from synth.cli.command_group import together
from synth.cli.numbers import Number, Whole


def inference_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a student is asked: what `evaluate` and `serve` share."""
    share = Number(0, 1)
    return together(
        click.option(
            "--before",
            type=MODEL,
            help="A model that speaks first (a decomposer, a questioner): its reply stands for "
            "{before} in the prompt.",
        ),
        click.option(
            "--before-template",
            default="{prompt}",
            show_default=True,
            metavar="TEXT",
            help="What it is asked.",
        ),
        click.option(
            "--steps",
            type=Whole(0),
            default=0,
            show_default=True,
            metavar="N",
            help="Each line of its reply is a question of its own, at most N, answered behind "
            "those before it ({history}); 0: the reply is one text.",
        ),
        click.option(
            "--wrap",
            default="",
            metavar="TEXT",
            help="The student's prompt, with places among {prompt}, {before}, {history} and "
            "{knowledge}.",
        ),
        click.option(
            "--knowledge",
            metavar="FILE",
            help="Rows with `text`, of which the nearest to a question (BM25) stand for "
            "{knowledge}.",
        ),
        click.option(
            "--knowledge-count",
            type=Whole(1),
            default=1,
            show_default=True,
            help="How many of them.",
        ),
        click.option(
            "--gate",
            type=share,
            help="Leave knowledge out where the student is surer than this.",
        ),
        click.option(
            "--think-end",
            default="",
            metavar="TEXT",
            help="What ends the student's thinking, such as </think> (budget forcing).",
        ),
        click.option(
            "--think-least",
            type=Whole(0),
            default=0,
            show_default=True,
            help="Fewest tokens of thinking.",
        ),
        click.option(
            "--think-most",
            type=Whole(1),
            help="Most tokens of thinking, its end included.",
        ),
        click.option(
            "--think-wait",
            default="",
            metavar="TEXT",
            help="Said in the place of an end that comes too early, such as Wait.",
        ),
        click.option(
            "--contrast",
            metavar="FILE",
            help="Wrong examples: the student is decoded against itself behind them (greedily).",
        ),
        click.option(
            "--contrast-beta",
            type=Number(0),
            default=0.7,
            show_default=True,
            help="Strength of the contrast.",
        ),
        click.option(
            "--contrast-alpha",
            type=Number(0, 1, min_open=True),
            default=0.1,
            show_default=True,
            help="Tokens less likely than this share of the best one are left out.",
        ),
        click.option(
            "--calculator",
            is_flag=True,
            help="Compute what stands behind the = of a sum, in the place of the student.",
        ),
        click.option(
            "--banned",
            default="",
            metavar="WORD,...",
            help="Words that it never says.",
        ),
        _chunk_options,
        _cascade_options,
    )(command)


def _chunk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--chunks, and when one is taken."""
    return together(
        click.option(
            "--chunks",
            metavar="ROWS",
            callback=rows_there,
            is_eager=True,
            help="Rows with prompts and completions: where the student stands as one of them once "
            "stood, it writes the next tokens of it at once (greedily).",
        ),
        click.option(
            "--chunk-teacher",
            callback=only_with("--chunks"),
            default="",
            type=MODEL,
            help="A model of its tokenizer that says which tokens are likely; else the student.",
        ),
        click.option(
            "--chunk-likelihood",
            callback=only_with("--chunks"),
            type=Number(0, 1),
            default=0.9,
            show_default=True,
            help="A chunk is a run of tokens that are at least so likely; 0 for any.",
        ),
        click.option(
            "--chunk-similarity",
            callback=only_with("--chunks"),
            type=Number(-1, 1),
            default=0.9,
            show_default=True,
            help="Least cosine of the student's states before both texts.",
        ),
    )(command)


def _cascade_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--cascade, and what bounds it."""
    return together(
        click.option(
            "--cascade",
            metavar="PROVIDER/MODEL",
            is_eager=True,
            help="A teacher that is asked where the student is not sure of its reply.",
        ),
        click.option(
            "--cascade-below",
            callback=only_with("--cascade"),
            type=Number(0, 1),
            default=0.5,
            show_default=True,
            help="It is asked where the student is less sure than this: the mean gap between its "
            "two likeliest tokens.",
        ),
        click.option(
            "--cascade-calls",
            callback=only_with("--cascade"),
            type=Whole(0),
            default=1000,
            show_default=True,
            help="Calls of it at most.",
        ),
        click.option(
            "--cascade-budget",
            callback=only_with("--cascade"),
            type=Number(0),
            metavar="USD",
            help="Dollars of its calls at most.",
        ),
        click.option(
            "--cascade-price",
            callback=only_with("--cascade"),
            metavar="IN,OUT",
            help="Dollars per million tokens, where the price table knows none.",
        ),
        click.option(
            "--cascade-api-base",
            callback=only_with("--cascade"),
            metavar="URL",
            help="Its endpoint.",
        ),
        click.option(
            "--cascade-key-env",
            callback=only_with("--cascade"),
            metavar="NAME",
            help="The variable that holds its key.",
        ),
    )(command)
