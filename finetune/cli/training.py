"""`finetune sft`, `dpo` and their kin: commands that train a student on rows."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.rolling import rollout_options, rollouts_in
from finetune.cli.shared import (
    EXTRA,
    budget_option,
    going_on_in,
    held_out_in,
    held_out_options,
    interval,
    need,
    numbers,
    opened_options,
    optimizer_options,
    pair,
    resume_option,
    rows_option,
    rows_there,
    shape_in,
    shape_options,
    sharding_option,
    template_option,
    train,
    train_options,
)
from synth.cli.command_group import output_option, say
from synth.cli.numbers import Number, Whole
from synth.core.errors import WrongUse


@click.command(context_settings=EXTRA)
@train_options
@template_option
@held_out_options
@budget_option
@resume_option
@optimizer_options
@shape_options
@click.option(
    "--coefficients",
    default="",
    metavar="TASK=C,...",
    help="Of the tasks of multitask rows; equal shares of 1 where none are given.",
)
@click.option(
    "--negative-margin",
    type=Number(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Nats a token.",
)
@click.option(
    "--objective",
    type=click.Choice(["weighted", "unlikelihood", "min-max"]),
    default="weighted",
    show_default=True,
    help="What rows of negative weight do.",
)
@click.option(
    "--push",
    type=Number(min=0),
    default=0.2,
    show_default=True,
    help="Strength of min-max's push.",
)
@sharding_option
@click.pass_context
def sft(ctx: click.Context, /, coefficients: str, **options: Any) -> None:
    """Supervised fine-tuning on kept rows; rows with a weight (also a negative one) or a task are
    weighed by it.
    """
    given = dict(
        pair(text, "--coefficients")
        for text in filter(None, coefficients.split(","))
    )
    more = {
        name: options.pop(name)
        for name in ("negative_margin", "objective", "push")
    }
    options["held_out"] = held_out_in(options)
    options["shape"] = shape_in(options)
    options["going_on"] = going_on_in(options)
    train("sft", ctx, more={"coefficients": given, **more}, **options)


@click.command(context_settings=EXTRA)
@opened_options
@template_option
@click.option(
    "--r",
    type=Whole(1),
    default=8,
    show_default=True,
    help="Rank of both adapters.",
)
@click.option(
    "--alpha",
    type=Number(min=0, min_open=True),
    default=16.0,
    show_default=True,
    help="Their scale is alpha / r.",
)
@click.option(
    "--targets",
    default="q_proj,v_proj",
    show_default=True,
    help="Ends of the names of the layers that get them.",
)
@click.pass_context
def nat(
    ctx: click.Context, /, r: int, alpha: float, targets: str, **options: Any
) -> None:
    """Wrong rows in an adapter of their own, then right rows in another and a gate between them;
    steps are those of one stage.
    """
    from finetune.recipes.nat import NatConfig  # noqa: PLC0415

    train(
        "nat",
        ctx,
        more={
            "nat": NatConfig(
                r=r, alpha=alpha, targets=tuple(targets.split(","))
            )
        },
        **options,
    )


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--margin",
    type=Number(min=0),
    default=1.0,
    show_default=True,
    help="Nats, times the pair's own `margin`.",
)
@click.option(
    "--normalise", is_flag=True, help="Likelihoods a token, not of whole texts."
)
@click.option(
    "--likelihood",
    type=Number(min=0),
    default=0.1,
    show_default=True,
    help="Weight of the better text's own loss.",
)
@click.pass_context
def rank(ctx: click.Context, /, **options: Any) -> None:
    """PLaD: the better text of a pair becomes likelier than the worse one by a margin; no reference
    model.
    """
    more = {
        name: options.pop(name)
        for name in ("margin", "normalise", "likelihood")
    }
    train("plad", ctx, more=more, **options)


def _preference(method: str, about: str) -> click.Command:
    """One command a method, all of them `finetune.recipes.dpo`."""

    @click.command(name=method, context_settings=EXTRA, help=about)
    @opened_options
    @template_option
    @held_out_options
    @resume_option
    @sharding_option
    @click.pass_context
    def command(ctx: click.Context, /, **options: Any) -> None:
        options["held_out"] = held_out_in(options)
        train("dpo", ctx, more={"method": method}, **options)

    return command


dpo = _preference(
    "dpo",
    "Preference optimisation on chosen and rejected rows; start from a trained student.",
)
kto = _preference(
    "kto",
    "Right and wrong rows with a label (`synth export --to labelled`), without pairs.",
)
cpo = _preference(
    "cpo",
    "Without a reference model; --loss-type simpo --cpo-alpha 0 is SimPO, hinge ranks.",
)
orpo = _preference(
    "orpo", "Likelihood and odds ratio in one loss, without a reference model."
)


@click.command(context_settings=EXTRA)
@opened_options
@template_option
@resume_option
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    required=True,
    metavar="NAME[:key=value,...]",
    help="A filter, as `synth list filters` names it: 1 for a text that it keeps, 0 for another. "
    "Repeatable.",
)
@click.option(
    "--reward-weights",
    default="",
    metavar="W,W,...",
    help="Of the rewards in their order; all 1 where none are given.",
)
@click.option(
    "--parser",
    default="final_number",
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="Reads the student's texts; what it cannot read earns 0.",
)
@click.option(
    "--graded",
    is_flag=True,
    help="A filter's score, or a critic's probability, is its reward where it gives one.",
)
@rollout_options
@click.pass_context
def grpo(ctx: click.Context, /, reward_weights: str, **options: Any) -> None:
    """The student's own texts, rewarded by filters, verifiers and critics; start from a trained
    student.
    """
    more = {name: options.pop(name) for name in ("rewards", "parser", "graded")}
    more["weights"] = numbers(reward_weights, "--reward-weights")
    more["rollouts"] = rollouts_in(options)
    info = train("grpo", ctx, more=more, **options)
    for name, course in info["rewards"].items():
        say(
            f"{name}: {course['first']} at the beginning, {course['last']} at the end"
        )


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--stages",
    default="1,0.667,0.333,0",
    show_default=True,
    metavar="S,S,...,0",
    help="Share of the context that each stage sees.",
)
@click.pass_context
def fade(ctx: click.Context, /, stages: str, **options: Any) -> None:
    """Supervised fine-tuning while a context is taken away (`synth export --to faded`); steps are
    those of one stage.
    """
    train(
        "fade",
        ctx,
        more={"stages": numbers(stages, "--stages")},
        **options,
    )


@click.command(context_settings=EXTRA)
@train_options
@template_option
@click.option(
    "--by",
    required=True,
    metavar="COLUMN",
    help="Of numbers (difficulty) or names (teacher); meta.teacher looks inside meta.",
)
@click.option(
    "--bins",
    type=Whole(2),
    default=3,
    show_default=True,
    help="Stages of equal size, for numbers.",
)
@click.option(
    "--order", default="", metavar="NAME,...", help="Stages, for names."
)
@click.option("--descending", is_flag=True, help="The largest numbers first.")
@click.option(
    "--cumulative",
    is_flag=True,
    help="Each stage keeps the rows of those before it.",
)
@click.pass_context
def curriculum(ctx: click.Context, /, order: str, **options: Any) -> None:
    """Supervised fine-tuning in stages: by difficulty, or teacher after teacher; steps are those of
    one stage.
    """
    more = {
        name: options.pop(name)
        for name in ("by", "bins", "descending", "cumulative")
    }
    train(
        "curriculum",
        ctx,
        more={**more, "order": [name for name in order.split(",") if name]},
        **options,
    )


_CLASSIFIER = (
    "A path or a hub name (an encoder does best), or scratch:tiny|mini|small."
)


@click.command(context_settings=EXTRA)
@functools.partial(train_options, about=_CLASSIFIER)
@click.option(
    "--first",
    default="question",
    show_default=True,
    help="Column of the first text.",
)
@click.option(
    "--second",
    default="rationale,answer",
    show_default=True,
    help="Columns of the second text, joined by a space.",
)
@click.option(
    "--label",
    default="is_correct",
    show_default=True,
    help="Column that says whether a row is right.",
)
@click.option(
    "--group",
    default="question",
    show_default=True,
    help="Column that draws of one seed share: whole groups are held out.",
)
@click.option(
    "--held-out",
    type=Number(0, 0.9),
    default=0.2,
    show_default=True,
    help="Share of the groups to measure on.",
)
@click.option(
    "--frozen",
    is_flag=True,
    help="Logistic regression on the vectors of --model, an encoder, instead.",
)
@click.option(
    "--calibration",
    "kind",
    type=click.Choice(["isotonic", "platt"]),
    default="isotonic",
    show_default=True,
    help="For --frozen.",
)
@click.option(
    "--passes",
    type=Whole(1),
    default=1,
    show_default=True,
    help="For --frozen: times that PersonX gets another name.",
)
@click.option(
    "--masked",
    type=Number(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Where right rows are more, copies of them with this share of their words masked or "
    "replaced are wrong rows.",
)
@click.pass_context
def critic(
    ctx: click.Context,
    /,
    *,
    frozen: bool,
    kind: str,
    masked: float,
    passes: int,
    **options: Any,
) -> None:
    """A critic that says whether a row is right, from labelled rows; for the filter
    `cross_encoder`.
    """
    names = ("first", "second", "label", "group", "held_out")
    own = {name: options.pop(name) for name in names}
    if frozen:
        trains = options["config"] or options["lora"] is not None
        if ctx.args or trains or options["processes"] > 1:
            given = " ".join(ctx.args) or "--config, --lora or --processes"
            raise WrongUse(
                "critic --frozen",
                given,
                "no trainer fields",
                "A logistic regression has none: leave them out.",
            )
        if masked:
            raise WrongUse(
                "critic --frozen",
                f"--masked {masked:g}",
                "rows as they are",
                "Leave one of them out: masked rows are learnt without --frozen.",
            )
        from finetune.recipes.frozen_critic import Columns, run  # noqa: PLC0415
        from finetune.settings import TrainConfig  # noqa: PLC0415

        config = TrainConfig(
            data=options["data"],
            model=options["model"],
            output=options["output"],
        )
        info = run(config, columns=Columns(**own, passes=passes), kind=kind)
        say(f"critic: trained on {info['trained']:,} of {info['rows']:,} rows")
    else:
        info = train(
            "critic",
            ctx,
            more={**own, "kind": kind, "masked": masked},
            **options,
        )
    say(
        f"{info['held_out']['rows']:,} rows held out, area under the ROC curve "
        f"{info['held_out']['auc']}"
    )
    for row in info.get("recalls", []):
        kept = f"least={row['least']:.4f} keeps {row['kept']:.3f} of the rows"
        say(
            f"recall {row['recall']}: {kept}, precision {row['precision']:.3f} {interval(row)}"
        )


@click.command()
@click.option("--model", required=True, type=MODEL, help="The larger student.")
@rows_option("Rows whose tokens stay, as `finetune sft` reads them.")
@output_option("A folder for the smaller student.", "DIR")
@template_option
def vocabulary(model: str, data: str, output: Path, template: Any) -> None:
    """Cut a student down to the tokens that some rows use: embeddings, head and tokenizer."""
    need("trl")
    from finetune.recipes.vocabulary import run  # noqa: PLC0415

    info = run(model, data, output, template=template)
    say(
        f"vocabulary: {info['tokens_before']:,} -> {info['tokens']:,} tokens, "
        f"{info['parameters_before']:,} -> {info['parameters']:,} weights -> {output}"
    )


@click.command()
@click.option(
    "--senses",
    required=True,
    metavar="FILE",
    callback=rows_there,
    help="A glossary: term, sense, gloss, related, examples; `synth lexicon --senses` writes one.",
)
@click.option(
    "--model",
    required=True,
    type=MODEL,
    help="An encoder, or a folder of this command.",
)
@output_option("For the heads, evaluation.json and predictions.jsonl.")
@click.option(
    "--contexts",
    metavar="FILE",
    callback=rows_there,
    help="Rows with `text` and `word` to learn from; their senses need not be known.",
)
@click.option(
    "--test",
    metavar="FILE",
    callback=rows_there,
    help="Rows with `text` and `word` whose senses are found, and measured where they have a "
    "`sense`.",
)
@click.option(
    "--epochs",
    type=Whole(0),
    default=15,
    show_default=True,
    help="Times that each sense is learnt; 0: the model as it is.",
)
@click.option(
    "--reach",
    type=Number(0, 1, min_open=True),
    default=0.015,
    show_default=True,
    help="Farthest that a number of a vector may move, as a share of the vector's length.",
)
@click.option(
    "--self-training",
    type=Number(0),
    default=0.2,
    show_default=True,
    help="Weight of the contexts' loss.",
)
@click.option(
    "--seed",
    type=Whole(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the heads and the order of the senses.",
)
def senses(**options: Any) -> None:
    """Sort words of texts into the senses of a glossary, by vectors that learn which senses are
    related.
    """
    need("transformers")
    from finetune.recipes.senses import SensesConfig, run  # noqa: PLC0415

    info = run(SensesConfig(**options))
    say(
        f"senses: {info['senses']:,} of words, {info['contexts']:,} contexts, {info['steps']:,} "
        f"steps, {info['seconds']:.0f} s -> {options['output']}"
    )
    for name, about in (
        ("cosines_alone", "encoder alone"),
        ("cosines", "heads"),
    ):
        found = info[name]
        say(
            f"mean cosine by the {about}: related senses {found['related']}, other senses of one "
            f"word {found['other_senses']}"
        )
    if "accuracy" in info:
        for name in ("encoder_alone", "accuracy"):
            found = info[name]
            say(
                f"{name}: {found['share']:.3f} {interval(found)} of {found['rows']:,} words with "
                "several senses"
            )
        say(f"p: {info['p']}")
