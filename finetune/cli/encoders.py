"""`finetune heads` and its kin: encoders of several tasks, and what they are worth."""

from __future__ import annotations

from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import (
    EXTRA,
    evaluation_options,
    interval,
    need,
    opened_options,
    resume_option,
    rows_there,
    student_options,
    train,
)
from finetune.core.rows import JsonObject
from synth.cli.command_group import say
from synth.cli.numbers import Number


@click.command(context_settings=EXTRA)
@student_options
@resume_option
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="NAME:task=TASK,rows=FILE[,teacher=M]",
    help="A task, tokens, classify or arcs (dependency trees), with its rows and maybe an encoder "
    "that knows it; once for each. Without a teacher its labels alone are learnt.",
)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME[=WEIGHT][:key=value,...]",
    help="Of heads with a teacher, as of `finetune distill`. Default: forward_kl:schedule=linear.",
)
@click.option(
    "--likelihood",
    type=Number(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the labels beside a teacher.",
)
@click.option(
    "--likelihood-to",
    type=Number(min=0),
    default=1.0,
    show_default=True,
    help="That weight at the end, to which it moves in equal steps.",
)
@click.pass_context
def heads(
    ctx: click.Context,
    /,
    heads: tuple[str, ...],
    losses: tuple[str, ...],
    *,
    likelihood: float,
    likelihood_to: float,
    **options: Any,
) -> None:
    """One encoder learns several tasks, each from a teacher of its own and from labels."""
    need("trl")
    from finetune.recipes.distill_heads import (  # noqa: PLC0415
        ANNEALED,
        HeadsConfig,
        read_heads,
    )

    made = HeadsConfig(
        heads=read_heads(heads),
        losses=losses or ANNEALED,
        likelihood=likelihood,
        likelihood_to=likelihood_to,
    )
    train("distill_heads", ctx, more={"heads": made}, data="", **options)


@click.command("evaluate-encoder")
@click.argument("model", type=MODEL)
@evaluation_options(
    "Held-out rows: `text` and `label`, `tokens` and `tags`, or `tokens`, `heads` and `relations`."
)
@click.option(
    "--task",
    type=click.Choice(["classify", "tokens"]),
    help="Of the model; a --head has its own.",
)
@click.option("--head", metavar="NAME", help="Of a folder of `finetune heads`.")
def evaluate_encoder(**options: Any) -> None:
    """How often the encoder MODEL finds the class of a text, or of each word its class or head."""
    need("transformers")
    from finetune.measuring.encoders import EncoderConfig, run  # noqa: PLC0415

    info = run(EncoderConfig(**options))
    if info["task"] == "arcs":
        for name in ("uas", "las"):
            share = info[name]
            say(f"{name.upper()}: {share['share']:.3f} {interval(share)}")
        say(f"{info['words']:,} words")
        _tell_unread(info)
        return
    share = info["accuracy"]
    say(
        f"accuracy: {share['share']:.3f} {interval(share)} of {info['labels']:,} labels, macro F1 "
        f"{info['macro_f1']:.3f}"
    )
    _tell_unread(info)
    if found := info.get("entities"):
        say(
            f"entities: precision {found['precision']:.3f}, recall {found['recall']:.3f}, F1 "
            f"{found['f1']:.3f} of {found['support']:,}"
        )
        for kind, scores in found["kinds"].items():
            say(f"  {kind}: F1 {scores['f1']:.3f} of {scores['support']:,}")


# Task -> what of its rows is not read, and what that counts as.
_UNREAD = {
    "classify": ("tokens", ""),
    "tokens": ("words", "; such words count as O"),
    "arcs": ("words", "; such words count as wrong"),
}


def _tell_unread(info: JsonObject) -> None:
    """What counts without having been read."""
    if info["cut"]:
        what, counts = _UNREAD[info["task"]]
        lost = f"{info['cut']:,} {what} of {info['cut_rows']:,} rows"
        say(f"{lost} were not read, the rows are too long{counts}", err=True)
    if strange := info.get("strange"):
        named = ", ".join(sorted(strange)[:8])
        total = sum(strange.values())
        say(f"{total:,} labels that MODEL does not have: {named}", err=True)


@click.command("add-kinds", context_settings=EXTRA)
@opened_options
@resume_option
@click.option(
    "--former-rows",
    metavar="FILE",
    callback=rows_there,
    help="Rows that the model was trained on, for the mean states of its kinds. Default: as an "
    "earlier add-kinds kept them, or of words that the model finds in the new rows.",
)
@click.option(
    "--distil",
    type=Number(min=0),
    default=2.0,
    show_default=True,
    help="Weight of what the former model says of words outside of the new kinds.",
)
@click.option(
    "--prototypes",
    type=Number(min=0),
    default=0.1,
    show_default=True,
    help="Weight of the old kinds' mean states.",
)
@click.option(
    "--old-gradient",
    type=Number(0, 1),
    default=0.6,
    show_default=True,
    help="Share of the labels' gradient that reaches the head's weights of old kinds.",
)
@click.option(
    "--relabel",
    type=Number(0, 1, min_open=True),
    metavar="CHANCE",
    help="Words outside that the former model puts into an old kind, at least so surely, count as "
    "labelled so.",
)
@click.pass_context
def add_kinds(ctx: click.Context, /, **options: Any) -> None:
    """A tagger learns new kinds of entities from rows that mark these alone, and keeps its own."""
    need("trl")
    from finetune.trainers.new_kinds import NewKinds  # noqa: PLC0415 - torch

    former = options.pop("former_rows")
    names = ("distil", "prototypes", "old_gradient", "relabel")
    kinds = NewKinds(**{name: options.pop(name) for name in names})
    more = {"kinds": kinds, "former_rows": former}
    train("new_kinds", ctx, more=more, **options)
