"""Commands of white-box distillation: `distill`, `codistill` and `teach`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from finetune.cli.shared import (
    EXTRA,
    need,
    numbers,
    template_option,
    train,
    train_options,
)
from synth.cli.command_group import output_option, say, together
from synth.core.errors import WrongUse

# Options of every training, which are not the distillation's own.
SHARED = (
    *("data", "model", "output", "config", "lora", "dtype", "processes"),
    "template",
)


def text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The student's own texts in a training: --on-policy and what belongs to it."""
    return together(
        click.option(
            "--on-policy",
            type=click.FloatRange(0, 1),
            default=0.0,
            show_default=True,
            help="Share of the steps that train on texts which the student writes.",
        ),
        click.option(
            "--new-tokens",
            type=click.IntRange(1),
            default=128,
            show_default=True,
            help="Tokens of a text that the student writes (--on-policy), at most.",
        ),
        click.option(
            "--sampling-temperature",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Temperature at which the student writes (--on-policy).",
        ),
        click.option(
            "--schedule",
            type=click.Choice(
                ["constant", "decreasing", "increasing", "adaptive"]
            ),
            default="constant",
            show_default=True,
            help="How --on-policy changes over the training; adaptive: it grows where the loss of "
            "the rows of --hold-out does.",
        ),
        click.option(
            "--hold-out",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.0,
            show_default=True,
            help="Share of the rows that are held out for --schedule adaptive.",
        ),
        click.option(
            "--validate-every",
            type=click.IntRange(0),
            default=0,
            help="Steps between two looks at these rows. Default: once an epoch.",
        ),
        click.option(
            "--replay",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Batches of texts by the student that are kept and trained on again.",
        ),
        click.option(
            "--teacher-share",
            type=click.FloatRange(0, 1),
            default=0.0,
            show_default=True,
            help="Share of the teacher in the mixture that a text of --on-policy is drawn from.",
        ),
        click.option(
            "--correct",
            is_flag=True,
            help="The teacher corrects the worst token of a text by the student, who writes on.",
        ),
        click.option(
            "--corrupt",
            type=click.FloatRange(0, 1),
            default=0.0,
            show_default=True,
            help="Share of the rows' tokens that are replaced by tokens of the student.",
        ),
    )(command)


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="M",
    help="Open model whose probabilities are learnt; repeat it to average several.",
)
@click.option(
    "--offline",
    metavar="DIR",
    help="Folder that `finetune teach` wrote, in the place of --teacher.",
)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME[=WEIGHT][:key=value,...]",
    help="A name of `synth list losses`, or module:Class; several are summed. Also schedule=linear "
    "or cosine,to=WEIGHT; warmup=SHARE; layers=last, uniform, all or [2-4,4-8]. Default: "
    "forward_kl; top_k with --offline.",
)
@click.option(
    "--task",
    type=click.Choice(["text", "mlm", "classify", "tokens"]),
    default="text",
    show_default=True,
    help="What is learnt: to write texts (a decoder); with an encoder masked words, classes of "
    "texts, classes of words.",
)
@click.option(
    "--masked",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.15,
    show_default=True,
    help="Share of the words that are masked (--task mlm).",
)
@click.option(
    "--likelihood",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the cross-entropy on the rows' own tokens, beside --loss.",
)
@click.option(
    "--strength",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of all that --loss names.",
)
@text_options
@click.option(
    "--teacher-weights",
    "weights",
    default="",
    metavar="W,W,...",
    help="Weights of several teachers, in the order of --teacher.",
)
@click.option(
    "--weigh",
    type=click.Choice(["fixed", "agreement", "reinforced"]),
    default="fixed",
    show_default=True,
    help="How several teachers are weighed, row by row.",
)
@click.option(
    "--teacher-smoothing",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Label smoothing that the teacher was trained with.",
)
@click.option(
    "--teacher-dtype",
    metavar="DTYPE",
    help="Number type of the teacher: bfloat16, float16, float32.",
)
@click.option(
    "--teacher-device",
    metavar="DEVICE",
    help="Device of the teacher: cpu, cuda:1.",
)
@click.pass_context
def distill(
    ctx: click.Context,
    /,
    teachers: tuple[str, ...],
    losses: tuple[str, ...],
    weights: str,
    *,
    task: str,
    masked: float,
    **options: Any,
) -> None:
    """A student learns an open teacher's probabilities; the logits of neither are ever held."""
    need("trl")
    from finetune.trainers.distill_settings import DistillConfig  # noqa: PLC0415
    from finetune.trainers.on_policy_settings import OnPolicy  # noqa: PLC0415

    own = {
        name: options.pop(name)
        for name in (
            *("schedule", "replay", "new_tokens", "teacher_share"),
            *("hold_out", "validate_every"),
            *("correct", "corrupt"),
        )
    }
    own |= {
        "share": options.pop("on_policy"),
        "temperature": options.pop("sampling_temperature"),
    }
    shared = {name: options.pop(name) for name in SHARED}
    chosen = losses or ("top_k" if options["offline"] else "forward_kl",)
    made = DistillConfig(
        teachers=teachers,
        losses=chosen,
        weights=tuple(numbers(weights, "--teacher-weights")),
        on_policy=OnPolicy(**own),
        **options,
    )
    if task == "text":
        train("distill", ctx, more={"distill": made}, **shared)
        return
    more = {"distill": made, "task": task, "masked": masked}
    train("distill_encoder", ctx, more=more, **shared)


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
    help="Weight of what the smaller model learns from the larger one.",
)
@click.option(
    "--to-teacher",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Weight of what the larger model learns from the smaller one.",
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
    "--input",
    "data",
    required=True,
    metavar="DIR",
    help="Rows, as for sft; with --replies a run folder.",
)
@click.option("--teacher", metavar="M", help="Open model to ask.")
@click.option(
    "--replies",
    metavar="FILE",
    help="File of `synth journal RUN --output FILE` with top_logprobs, for --teacher.",
)
@click.option(
    "--student",
    "learner",
    metavar="M",
    help="Student whose tokenizer cuts the replies (with --replies).",
)
@output_option(
    "Folder to write; the same command again goes on where it stopped."
)
@click.option(
    "--k",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Likeliest tokens that are kept at each place.",
)
@click.option(
    "--max-length",
    "most",
    type=click.IntRange(2),
    default=1024,
    show_default=True,
    help="Tokens of a row at most; give the training the same.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Rows that the teacher reads at once.",
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
            "one source: a teacher, or replies and the student who reads them",
            "Give --teacher MODEL, or --replies FILE with --student MODEL.",
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
        share = f"{facts['known']:,} of {facts['tokens']:,} tokens known"
        say(
            f"teach: {facts['taught']:,} of {facts['rows']:,} rows, {share} -> {output}"
        )
        return
    from finetune.recipes.distill import teach as write  # noqa: PLC0415

    facts = write(data, str(teacher), output, **options)
    say(
        f"teach: {facts['taught']:,} of {facts['rows']:,} rows now, {facts['bytes']:,} bytes in "
        f"all -> {output}"
    )
