"""The command of items and users: `item-codes`."""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import need, rows_option, rows_there
from synth.cli.command_group import output_option, say
from synth.cli.numbers import Number, Whole

# Beyond it the other part of a loss is lost in float32.
_MOST_WEIGHT = 1e6


@click.command("item-codes")
@rows_option(
    "Rows with `items`, what a user chose, the earliest first.", metavar="FILE"
)
@click.option(
    "--items",
    required=True,
    metavar="FILE",
    callback=rows_there,
    help="Rows with `item`, its name, and `text`.",
)
@click.option(
    "--model",
    required=True,
    type=MODEL,
    help="An encoder of the texts, or hashing.",
)
@output_option(
    "For items.jsonl, rows.jsonl, held_out.jsonl and evaluation.json."
)
@click.option(
    "--width",
    type=Whole(1, 65536),
    default=64,
    show_default=True,
    help="Numbers of an item's vector.",
)
@click.option(
    "--levels",
    type=Whole(1, 8),
    default=3,
    show_default=True,
    help="Signs of a code.",
)
@click.option(
    "--size",
    type=Whole(1),
    default=16,
    show_default=True,
    help="Different signs of a level.",
)
@click.option(
    "--epochs",
    type=Whole(1),
    default=100,
    show_default=True,
    help="Times that every choice, and then every item, is learnt.",
)
@click.option(
    "--align",
    type=Number(0, _MOST_WEIGHT),
    default=0.1,
    show_default=True,
    help="Weight by which vectors of choices are drawn to those of the texts.",
)
@click.option(
    "--semantic",
    type=Number(0, _MOST_WEIGHT),
    default=1.0,
    show_default=True,
    help="Weight of likenesses by the texts; those by the choices have 1.",
)
@click.option(
    "--most",
    type=Whole(1),
    default=20,
    show_default=True,
    help="Latest items of a history that a student reads.",
)
@click.option(
    "--seed",
    type=Whole(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the vectors, their order and the first means.",
)
def item_codes(**options: Any) -> None:
    """Give items codes by what users chose and what their texts say, and write rows from which
    `finetune sft` learns the code that comes next.
    """
    need("sentence_transformers", "retrieval")
    from finetune.recipes.item_codes import ItemCodesConfig, run  # noqa: PLC0415

    info = run(ItemCodesConfig(**options))
    say(
        f"item-codes: {info['items']:,} items, {info['codes']:,} codes; {info['rows']:,} rows, "
        f"{info['held_out']:,} held out -> {options['output']}"
    )
    common = info["common"]
    say(
        f"signs in common: {common['together']} of items beside each other, {common['all']} of all "
        "pairs"
    )
    kept = info["kept"]
    say(
        f"likeness kept: {kept['collaborative']} of the choices, {kept['semantic']} of the texts"
    )
