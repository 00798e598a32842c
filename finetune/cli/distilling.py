"""Commands of white-box distillation: `distill`, `codistill` and `teach`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from finetune.cli.encoding import encoder_options, state_in
from finetune.cli.model_name import MODEL
from finetune.cli.opening import check_unopened, opening_in, opening_options
from finetune.cli.pruning import pruning_in, pruning_options
from finetune.cli.rolling import rollout_options, rollouts_in
from finetune.cli.shared import (
    EXTRA,
    budget_option,
    going_on_in,
    held_out_in,
    held_out_options,
    need,
    numbers,
    opened_options,
    optimizer_options,
    resume_option,
    rows_option,
    shape_in,
    shape_options,
    sharding_option,
    template_option,
    train,
    train_options,
)
from finetune.core.rows import JsonObject
from finetune.data.held_out import MEASURES
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.teachers.served_settings import Servers
from finetune.trainers.on_policy_settings import OnPolicy
from synth.cli.command_group import output_option, say, together
from synth.cli.numbers import Number, Whole
from synth.core.errors import WrongUse

# Options of every training, which are not the distillation's own.
SHARED = (
    *("data", "model", "output", "config", "lora", "dtype", "processes"),
    *("template", "held_out", "tokens_per_batch", "resume", "shape"),
    *("sharding", "going_on"),
)

# Options of the student's own texts.
_OF_TEXTS = (
    *("schedule", "replay", "new_tokens", "correct", "corrupt"),
    *("completions", "top_p", "min_p", "teacher_share"),
    *("hold_out", "validate_every"),
)


def prompt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--teacher-prompt and --teacher-system."""
    return together(
        click.option(
            "--teacher-prompt",
            metavar="TEMPLATE",
            help="Prompt that the teacher alone reads: Jinja over the row's columns ({{ prompt }} "
            "is the student's), or a file of it.",
        ),
        click.option(
            "--teacher-system",
            metavar="TEMPLATE",
            help="System turn that the teacher alone reads, of conversations.",
        ),
    )(command)


def prompt_in(options: JsonObject) -> TeacherPrompt | None:
    """What `prompt_options` say, taken out of the options; None where they say nothing."""
    user = options.pop("teacher_prompt") or ""
    system = options.pop("teacher_system") or ""
    if not user and not system:
        return None
    return TeacherPrompt(user=user, system=system)


def own_text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--on-policy and how the student writes."""
    return together(
        click.option(
            "--on-policy",
            type=Number(0, 1),
            default=0.0,
            show_default=True,
            help="Share of the steps that train on texts which the student writes.",
        ),
        click.option(
            "--new-tokens",
            type=Whole(1),
            default=128,
            show_default=True,
            help="Tokens of a text that the student writes (--on-policy), at most.",
        ),
        click.option(
            "--sampling-temperature",
            type=Number(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Temperature at which the student writes (--on-policy).",
        ),
        click.option(
            "--completions",
            type=Whole(1),
            default=1,
            show_default=True,
            help="Texts that the student writes to each prompt (--on-policy); a batch grows by "
            "that factor.",
        ),
        click.option(
            "--top-p",
            type=Number(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="Mass of the likeliest tokens that the student writes from (--on-policy).",
        ),
        click.option(
            "--min-p",
            type=Number(0, 1),
            default=0.0,
            show_default=True,
            help="Least probability of a written token, as a share of the likeliest's "
            "(--on-policy).",
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
            type=Number(0, 1, max_open=True),
            default=0.0,
            show_default=True,
            help="Share of the rows that are held out for --schedule adaptive.",
        ),
        click.option(
            "--validate-every",
            type=Whole(0),
            default=0,
            help="Steps between two looks at these rows. Default: once an epoch.",
        ),
        click.option(
            "--replay",
            type=Whole(0),
            default=0,
            show_default=True,
            help="Batches of texts by the student that are kept and trained on again.",
        ),
        click.option(
            "--teacher-share",
            type=Number(0, 1),
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
            type=Number(0, 1),
            default=0.0,
            show_default=True,
            help="Share of the rows' tokens that are replaced by tokens of the student.",
        ),
    )(command)


def own_texts_in(options: JsonObject) -> OnPolicy:
    """What `own_text_options` say, taken out of the options."""
    own = {name: options.pop(name) for name in _OF_TEXTS}
    return OnPolicy(
        share=options.pop("on_policy"),
        temperature=options.pop("sampling_temperature"),
        rollouts=rollouts_in(options),
        **own,
    )


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--teacher-url and how its servers are reached."""
    return together(
        click.option(
            "--teacher-url",
            metavar="URL[,URL]",
            help="Servers (vLLM, llama.cpp, ...) that score the student's tokens, for --teacher; "
            "of several, a column `teacher` names each row's model.",
        ),
        click.option(
            "--teacher-model",
            metavar="NAME[,NAME]",
            help="Model of each server. Default: the one that it serves.",
        ),
        click.option(
            "--teacher-key-env",
            metavar="VAR[,VAR]",
            help="Variable with the key of each server; nothing between commas for no key.",
        ),
        click.option(
            "--teacher-k",
            type=Whole(1),
            default=64,
            show_default=True,
            help="Likeliest tokens that servers are asked for at each place.",
        ),
        click.option(
            "--teacher-calls",
            type=Whole(1),
            default=16,
            show_default=True,
            help="Calls in flight at each server, at most.",
        ),
        click.option(
            "--teacher-timeout",
            type=Number(min=0, min_open=True),
            default=120.0,
            show_default=True,
            metavar="SECONDS",
            help="Of one call to a server.",
        ),
        click.option(
            "--price",
            metavar="IN,OUT",
            help="Dollars per million tokens of the servers. Default: the table's.",
        ),
        click.option(
            "--budget",
            type=Number(min=0),
            metavar="USD",
            help="Stop before the call to a server that could cross it.",
        ),
    )(command)


def servers_in(options: JsonObject) -> Servers | None:
    """What `server_options` say, taken out of the options; None without --teacher-url.

    Raises:
        WrongUse: something of a server, and no server.
    """
    url = options.pop("teacher_url")
    given = {
        field: options.pop(name)
        for name, field in (
            ("teacher_model", "models"),
            ("teacher_key_env", "keys"),
            ("teacher_k", "k"),
            ("teacher_calls", "concurrency"),
            ("teacher_timeout", "timeout"),
            ("price", "price"),
            ("budget", "budget"),
        )
    }
    if not url:
        told = [
            name
            for name in ("models", "keys", "price", "budget")
            if given[name]
        ]
        if told:
            raise WrongUse(
                f"--teacher-... ({', '.join(told)})",
                "no --teacher-url",
                "a server",
                "Give that too, or leave the setting out: it would change nothing.",
            )
        return None
    for name in ("models", "keys"):
        listed = (given[name] or "").split(",")
        given[name] = tuple(map(str.strip, listed)) if given[name] else ()
    urls = tuple(map(str.strip, url.split(",")))
    return Servers(urls=urls, **given)


@click.command(context_settings=EXTRA)
@train_options
@template_option
@held_out_options
@budget_option
@resume_option
@optimizer_options
@shape_options
@sharding_option
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=MODEL,
    help="Open model whose probabilities are learnt; repeat it to average several. Or the student "
    "itself: self:base, self:ema[=RATE], self:live.",
)
@click.option(
    "--offline",
    metavar="DIR",
    help="Folder that `finetune teach` wrote, in the place of --teacher.",
)
@server_options
@prompt_options
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME[=WEIGHT][:key=value,...]",
    help="A name of `synth list losses`, or module:Class; several are summed. Also schedule=linear "
    "or cosine,to=WEIGHT; warmup=SHARE; layers=last, uniform, all or [2-4,4-8]. Default: "
    "forward_kl; top_k with --offline or --teacher-url.",
)
@encoder_options
@click.option(
    "--likelihood",
    type=Number(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the cross-entropy on the rows' own tokens, beside --loss.",
)
@click.option(
    "--strength",
    type=Number(min=0),
    default=1.0,
    show_default=True,
    help="Weight of all that --loss names.",
)
@own_text_options
@rollout_options
@pruning_options
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
    type=Number(0, 1),
    default=0.0,
    help="Label smoothing that the teacher was trained with.",
)
@opening_options
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

    options["held_out"] = held_out_in(options, MEASURES)
    options["shape"] = shape_in(options)
    options["going_on"] = going_on_in(options)
    pruning = pruning_in(options, task)
    state = state_in(options, task, pruned=pruning is not None)
    own = own_texts_in(options)
    shared = {name: options.pop(name) for name in SHARED}
    servers = servers_in(options)
    in_part = options["offline"] or servers
    chosen = losses or ("top_k" if in_part else "forward_kl",)
    made = DistillConfig(
        teachers=teachers,
        servers=servers,
        prompt=prompt_in(options),
        opening=opening_in(options),
        losses=chosen,
        weights=tuple(numbers(weights, "--teacher-weights")),
        on_policy=own,
        **options,
    )
    if task == "text":
        train("distill", ctx, more={"distill": made}, **shared)
        return
    if state is not None:
        more = {"distill": made, "at": state}
        train("distill_states", ctx, more=more, **shared)
        return
    more = {"distill": made, "task": task, "masked": masked}
    more["pruning"] = pruning
    train("distill_encoder", ctx, more=more, **shared)


@click.command(context_settings=EXTRA)
@opened_options
@template_option
@click.option(
    "--teacher",
    required=True,
    type=MODEL,
    help="The larger model, which learns too.",
)
@click.option(
    "--to-student",
    type=Number(min=0),
    default=1.0,
    show_default=True,
    help="Weight of what the smaller model learns from the larger one.",
)
@click.option(
    "--to-teacher",
    type=Number(min=0),
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
@rows_option("Rows, as for sft; with --replies a run folder.", metavar="DIR")
@click.option("--teacher", type=MODEL, help="Open model to ask.")
@click.option(
    "--replies",
    metavar="FILE",
    help="File of `synth journal RUN --output FILE` with top_logprobs, for --teacher.",
)
@click.option(
    "--student",
    "learner",
    type=MODEL,
    help="Student whose tokens are asked about (with --replies and --teacher-url).",
)
@server_options
@prompt_options
@opening_options
@output_option(
    "Folder to write; the same command again goes on where it stopped."
)
@click.option(
    "--k",
    type=Whole(1),
    default=64,
    show_default=True,
    help="Likeliest tokens that are kept at each place.",
)
@click.option(
    "--max-length",
    "most",
    type=Whole(2),
    default=1024,
    show_default=True,
    help="Tokens of a row at most; give the training the same.",
)
@click.option(
    "--batch",
    type=Whole(1),
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
    servers = servers_in(options)
    prompt = prompt_in(options)
    opening = opening_in(options)
    sources = sum(map(bool, (teacher, replies, servers)))
    if sources != 1 or bool(replies or servers) != bool(learner):
        todo = (
            "Give --teacher MODEL; or --teacher-url URL or --replies FILE, each with "
            "--student MODEL."
        )
        raise WrongUse(
            "teach",
            f"--teacher {teacher}, --replies {replies}, --student {learner}, "
            f"{len(servers.urls) if servers else 0} servers",
            "one source: a teacher, or servers or replies and the student who reads them",
            todo,
        )
    if not teacher:
        check_unopened(opening)
    reading = {name: options[name] for name in ("most", "template")}
    if replies and learner:
        _check_unprompted(prompt)
        from finetune.teachers.from_replies import teach as write_replies  # noqa: PLC0415

        facts = write_replies(data, replies, learner, output, **reading)
        share = f"{facts['known']:,} of {facts['tokens']:,} tokens known"
        say(
            f"teach: {facts['taught']:,} of {facts['rows']:,} rows, {share} -> {output}"
        )
        return
    from finetune.recipes.teach import teach as write  # noqa: PLC0415
    from finetune.recipes.teach import teach_from_servers  # noqa: PLC0415

    if servers and learner:
        facts = teach_from_servers(
            data, servers, learner, output, prompt=prompt, **reading
        )
    else:
        facts = write(
            data,
            str(teacher),
            output,
            prompt=prompt,
            opening=opening,
            **options,
        )
    say(
        f"teach: {facts['taught']:,} of {facts['rows']:,} rows now, {facts['bytes']:,} bytes in "
        f"all -> {output}"
    )


def _check_unprompted(prompt: TeacherPrompt | None) -> None:
    """Refuses a prompt for a teacher who has spoken already."""
    if prompt is not None:
        raise WrongUse(
            "--teacher-prompt",
            "with --replies",
            "a teacher that is asked",
            "Put it into the pack that asked for the replies.",
        )
