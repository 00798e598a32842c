"""Commands of white-box distillation: `distill`, `codistill` and `teach`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from finetune.cli.shared import (
    EXTRA,
    need,
    template_option,
    train,
    train_options,
)
from synth.cli.command_group import say
from synth.core.errors import WrongUse


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="M",
    help="An open model with the student's tokenizer; several are averaged.",
)
@click.option(
    "--offline", metavar="DIR", help="Instead: what `finetune teach` wrote."
)
@click.option(
    "--loss",
    metavar="NAME[:key=value,...]",
    help="Of finetune.losses; forward_kl, and top_k for --offline.",
)
@click.option(
    "--likelihood",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the rows' own tokens.",
)
@click.option(
    "--strength",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of the loss.",
)
@click.option(
    "--on-policy",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of steps on the student's own texts.",
)
@click.option(
    "--new-tokens",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Longest such text.",
)
@click.option(
    "--sampling-temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Of such texts.",
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "decreasing", "increasing"]),
    default="constant",
    show_default=True,
    help="Of the share.",
)
@click.option(
    "--replay",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Batches of such texts kept, and trained on again.",
)
@click.option(
    "--correct",
    is_flag=True,
    help="The teacher corrects the worst token of such a text, and the student writes on.",
)
@click.option(
    "--corrupt",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of tokens read as the student would write them.",
)
@click.option(
    "--teacher-weights",
    "weights",
    default="",
    metavar="W,W,...",
    help="Of several teachers.",
)
@click.option(
    "--weigh",
    type=click.Choice(["fixed", "agreement", "reinforced"]),
    default="fixed",
    show_default=True,
    help="Several teachers, row by row.",
)
@click.option(
    "--teacher-smoothing",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Label smoothing that the teacher was trained with.",
)
@click.option("--teacher-dtype", metavar="DTYPE", help="Such as bfloat16.")
@click.option("--teacher-device", metavar="DEVICE", help="Such as cuda:1.")
@click.pass_context
def distill(
    ctx: click.Context,
    /,
    teachers: tuple[str, ...],
    loss: str | None,
    weights: str,
    **options: Any,
) -> None:
    """A student learns an open teacher's probabilities; the logits of neither are ever held."""
    need("trl")
    from finetune.trainers.distill_settings import DistillConfig  # noqa: PLC0415
    from finetune.trainers.on_policy_settings import OnPolicy  # noqa: PLC0415

    own = {
        name: options.pop(name)
        for name in ("schedule", "replay", "new_tokens", "correct", "corrupt")
    }
    own |= {
        "share": options.pop("on_policy"),
        "temperature": options.pop("sampling_temperature"),
    }
    shared = {
        name: options.pop(name)
        for name in ("data", "model", "output", "config", "lora", "template")
    }
    chosen = loss or ("top_k" if options["offline"] else "forward_kl")
    made = DistillConfig(
        teachers=teachers,
        loss=chosen,
        weights=tuple(float(w) for w in weights.split(",") if w),
        on_policy=OnPolicy(**own),
        **options,
    )
    train("distill", ctx, more={"distill": made}, **shared)


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--teacher",
    required=True,
    metavar="M",
    help="The larger model, which learns too.",
)
@click.option(
    "--to-student",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of what the smaller one learns of it.",
)
@click.option(
    "--to-teacher",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of the other way.",
)
@click.pass_context
def codistill(ctx: click.Context, /, **options: Any) -> None:
    """Two models learn together, from labels and from each other; both are saved."""
    more = {
        name: options.pop(name)
        for name in ("teacher", "to_student", "to_teacher")
    }
    train("codistill", ctx, more=more, **options)


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    help="Rows, as for sft; with --replies a run folder.",
)
@click.option("--teacher", metavar="M", help="An open model.")
@click.option(
    "--replies",
    metavar="FILE",
    help="Instead: what `synth journal RUN --output FILE` wrote, with top_logprobs.",
)
@click.option(
    "--student",
    "learner",
    metavar="M",
    help="For --replies: whose tokenizer counts.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The cache; the same again goes on.",
)
@click.option(
    "--k",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Likeliest tokens to keep.",
)
@click.option(
    "--max-length",
    "most",
    type=click.IntRange(2),
    default=1024,
    show_default=True,
    help="Of a row, as the training has it.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Rows side by side.",
)
@template_option
def teach(
    data: str,
    teacher: str | None,
    output: Path,
    *,
    replies: str | None,
    learner: str | None,
    **options: Any,
) -> None:
    """Write a teacher's likeliest tokens with their log-probabilities once, for `distill
    --offline`.
    """
    need("trl")
    if bool(teacher) == bool(replies) or bool(replies) != bool(learner):
        raise WrongUse(
            "teach",
            f"--teacher {teacher}, --replies {replies}, --student {learner}",
            "a teacher, or replies and a student",
            "",
        )
    if replies and learner:
        from finetune.teachers.from_replies import teach as write_replies  # noqa: PLC0415

        facts = write_replies(
            data,
            replies,
            learner,
            output,
            most=options["most"],
            template=options["template"],
        )
        known = f"{facts['known']:,} of {facts['tokens']:,} tokens known"
        say(
            f"teach: {facts['taught']:,} of {facts['rows']:,} rows, {known} -> {output}"
        )
        return
    from finetune.recipes.distill import teach as write  # noqa: PLC0415

    found = write(data, str(teacher), output, **options)
    say(
        f"teach: {found['taught']:,} of {found['rows']:,} rows now, {found['bytes']:,} bytes in "
        f"all -> {output}"
    )
