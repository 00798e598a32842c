"""Commands that train students of forms of their own: experts by task, vectors for demonstrations,
encoders that share their weights, encoders that write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from finetune.cli.model_name import MODEL
from finetune.cli.shared import (
    EXTRA,
    evaluation_options,
    interval,
    need,
    numbers,
    opened_options,
    resume_option,
    rows_there,
    template_option,
    train,
    train_options,
)
from finetune.core.rows import JsonObject
from synth.cli.command_group import output_option, say, together
from synth.cli.numbers import Number, Whole
from synth.core.errors import WrongUse


@click.command(context_settings=EXTRA)
@train_options
@template_option
@resume_option
@click.option(
    "--experts",
    type=Whole(2),
    default=4,
    show_default=True,
    help="Of each layer.",
)
@click.option(
    "--chosen",
    type=Whole(1),
    default=2,
    show_default=True,
    help="Experts that a task uses.",
)
@click.option(
    "--balance",
    type=Number(min=0),
    default=0.01,
    show_default=True,
    help="Weight of an even use of experts.",
)
@click.pass_context
def experts(
    ctx: click.Context,
    /,
    experts: int,
    *,
    chosen: int,
    balance: float,
    **options: Any,
) -> None:
    """A decoder with experts that the `task` of a row chooses; the model of each task is written
    as a plain one.
    """
    need("trl")
    from finetune.recipes.experts import ExpertsConfig  # noqa: PLC0415

    made = ExpertsConfig(experts=experts, chosen=chosen, balance=balance)
    train("experts", ctx, more={"experts": made}, **options)


_SHOTS = click.option(
    "--shots",
    type=Whole(1),
    default=4,
    show_default=True,
    help="Demonstrations of a row: others of its `task`; rows with `demonstrations` bring theirs.",
)


@click.command(context_settings=EXTRA)
@opened_options
@resume_option
@click.option(
    "--compressor",
    type=MODEL,
    help="A language model of the same tokenizer that reads demonstrations, or a folder of this "
    "command. Default: a copy of --model.",
)
@click.option(
    "--vectors",
    type=Whole(1),
    default=16,
    show_default=True,
    help="That stand for the demonstrations.",
)
@_SHOTS
@click.option(
    "--draws",
    type=Whole(1),
    default=4,
    show_default=True,
    help="Times that a row comes, each time with other demonstrations.",
)
@click.option(
    "--likelihood",
    type=Number(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the answers' cross-entropy beside what the model says with demonstrations.",
)
@click.pass_context
def demonstrations(ctx: click.Context, /, **options: Any) -> None:
    """Demonstrations become a few vectors before a question, for a language model that stays as it
    is.
    """
    need("trl")
    from finetune.recipes.demonstrations import DemonstrationsConfig  # noqa: PLC0415

    names = ("compressor", "vectors", "shots", "draws", "likelihood")
    made = DemonstrationsConfig(**{name: options.pop(name) for name in names})
    train("demonstrations", ctx, more={"demonstrations": made}, **options)


@click.command("evaluate-demonstrations")
@click.argument("compressor")
@evaluation_options(
    "Held-out rows: `prompt`, `completion`, and `task` or `demonstrations`."
)
@click.option(
    "--shelf",
    metavar="ROWS",
    callback=rows_there,
    help="Rows that demonstrate. Default: the others of --input.",
)
@_SHOTS
@click.option(
    "--seed",
    type=Whole(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the choice of demonstrations.",
)
@click.option(
    "--model",
    type=MODEL,
    help="That is asked. Default: the one that the vectors were learnt for.",
)
def evaluate_demonstrations(**options: Any) -> None:
    """Answers with the vectors of COMPRESSOR, with demonstrations, and with neither."""
    need("transformers")
    from finetune.measuring.demonstrations import (  # noqa: PLC0415
        WAYS,
        DemonstrationsEvaluation,
        run,
    )

    info = run(DemonstrationsEvaluation(**options))
    for way in WAYS:
        say(f"{way}: {info[way]['share']:.3f} {interval(info[way])}")
    say(
        f"{info['vector_count']} vectors for {info['demonstration_tokens']:.1f} tokens; vectors "
        f"beside none: p = {info['p']}"
    )


_LARGEST = "A path or a hub name of an encoder that holds the largest; scratch: random weights."


def _sizes(about: str) -> Callable[..., Any]:
    """An option with whole numbers between commas."""
    name = about.split(":", maxsplit=1)[0]
    return click.option(
        f"--{name}",
        required=True,
        metavar="N,N,...",
        help=about.split(": ")[1],
    )


@click.command(context_settings=EXTRA)
@functools.partial(train_options, about=_LARGEST)
@resume_option
@click.option(
    "--teacher", required=True, type=MODEL, help="An encoder that teaches."
)
@_sizes("layers: Numbers of layers that an encoder may have, such as 2,3,4.")
@_sizes("heads: Numbers of attention heads; their widths are its width.")
@_sizes("feed-forward: Widths of its feed-forward layers.")
@click.option(
    "--relation-heads",
    type=Whole(1),
    metavar="N",
    help="Of the loss. Default: as many as divide all numbers of heads and the teacher's.",
)
@click.pass_context
def supernet(ctx: click.Context, /, **options: Any) -> None:
    """Encoders of many sizes share their weights and learn together; --model scratch begins with
    random ones.
    """
    need("trl")
    from finetune.recipes.supernet import SupernetConfig  # noqa: PLC0415

    space = {
        field: _ascending(options.pop(name), name)
        for name, field in (
            ("layers", "layers"),
            ("heads", "heads"),
            ("feed_forward", "inner"),
        )
    }
    made = SupernetConfig(
        teacher=options.pop("teacher"),
        relation_heads=options.pop("relation_heads"),
        **space,
    )
    train("supernet", ctx, more={"supernet": made}, **options)


def _ascending(text: str, name: str) -> list[int]:
    """Whole numbers from 1 on, the smallest first.

    Raises:
        WrongUse: others, or none.
    """
    flag = f"--{name.replace('_', '-')}"
    found = sorted({*numbers(text, flag)})
    if not found or found[0] < 1 or any(n % 1 for n in found):
        raise WrongUse(
            flag,
            repr(text),
            "whole numbers from 1 on, between commas",
            "For example 2,3,4.",
        )
    return list(map(int, found))


@click.command("search-supernet")
@click.argument("folder")
@click.option(
    "--held-out",
    required=True,
    metavar="ROWS",
    callback=rows_there,
    help="Rows of `text` that no encoder learnt.",
)
@click.option(
    "--most-parameters",
    "most",
    required=True,
    type=Whole(1),
    metavar="N",
    help="Weights of the student, its embeddings included.",
)
@click.option(
    "--teacher",
    type=MODEL,
    help="Default: that of the training.",
)
@output_option("Where the student and search.json go.")
def search_supernet(folder: str, **options: Any) -> None:
    """The encoder of FOLDER that is nearest to its teacher within a budget; nothing is trained."""
    need("transformers")
    from finetune.recipes.supernet import SearchConfig, search  # noqa: PLC0415

    info = search(SearchConfig(supernet=folder, **options))
    best = info["best"]
    say(
        f"search-supernet: {len(info['encoders']):,} encoders within the budget; the best has "
        f"{best['layers']} layers, {best['heads']} heads, width {best['width']}, feed-forward "
        f"{best['feed_forward']}, {best['parameters']:,} weights, loss {best['loss']:.4f} -> "
        f"{options['output']}"
    )


# What is read of `PriorConfig`.
prior_options = together(
    click.option(
        "--prior-rows",
        metavar="FILE",
        callback=rows_there,
        help="Raw rows of `prompt` and `completion`: what their words stand for is learnt "
        "at first.",
    ),
    click.option(
        "--prior",
        type=Number(0, 1),
        default=0.5,
        show_default=True,
        help="Weight of that at first, which falls to 0.",
    ),
    click.option(
        "--prior-until",
        "until",
        type=Number(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Of the steps, by which it is 0.",
    ),
)


@click.command(context_settings=EXTRA)
@opened_options
@resume_option
@click.option(
    "--stretch",
    type=Whole(1),
    default=2,
    show_default=True,
    help="Places of each token of the prompt, at which the completion is written.",
)
@prior_options
@click.pass_context
def ctc(ctx: click.Context, /, **options: Any) -> None:
    """A student that writes all tokens at once: an encoder learns a teacher's texts by CTC."""
    need("trl")
    from finetune.recipes.ctc import CtcConfig  # noqa: PLC0415

    names = ("stretch", "prior_rows", "prior", "until")
    made = CtcConfig(**{name: options.pop(name) for name in names})
    train("ctc", ctx, more={"ctc": made}, **options)


rare_option = click.option(
    "--rare",
    type=Whole(1),
    default=1,
    show_default=True,
    help="Words that stand at most so often in the completions are rare.",
)


@click.command("evaluate-ctc")
@click.argument("model", type=MODEL)
@evaluation_options("Held-out rows of `prompt` and `completion`.")
@rare_option
def evaluate_ctc(**options: Any) -> None:
    """What the student MODEL of `finetune ctc` writes in one pass: texts, words, rare words."""
    need("transformers")
    from finetune.measuring.ctc import CtcEvaluation, run  # noqa: PLC0415

    _tell_written(run(CtcEvaluation(**options)))


def _tell_written(info: JsonObject) -> None:
    """How much of texts was written."""
    for name in ("exact_match", "words", "rare_words"):
        say(f"{name}: {info[name]['share']:.3f} {interval(info[name])}")
    if info["cut_rows"]:
        rows = f"{info['cut_rows']:,} of {info['rows']:,} rows"
        say(f"{rows} have prompts of which the beginning was read", err=True)


@click.command("mask-predict", context_settings=EXTRA)
@opened_options
@resume_option
@prior_options
@click.pass_context
def mask_predict(ctx: click.Context, /, **options: Any) -> None:
    """A student that fills masked tokens over a few passes learns a teacher's texts (CMLM)."""
    need("trl")
    from finetune.recipes.ctc import PriorConfig  # noqa: PLC0415

    names = ("prior_rows", "prior", "until")
    made = PriorConfig(**{name: options.pop(name) for name in names})
    train("mask_predict", ctx, more={"prior": made}, **options)


@click.command("evaluate-mask-predict")
@click.argument("model", type=MODEL)
@evaluation_options("Held-out rows of `prompt` and `completion`.")
@rare_option
@click.option(
    "--passes",
    type=Whole(1),
    default=10,
    show_default=True,
    help="Over each text; each writes fewer tokens anew, those that were least sure.",
)
@click.option(
    "--lengths",
    type=Whole(1),
    default=1,
    show_default=True,
    help="Of which texts are drafted, the likeliest ones; the surest text is the reply. The paper "
    "drafts 5.",
)
def evaluate_mask_predict(**options: Any) -> None:
    """What the student MODEL of `finetune mask-predict` writes: texts, words, rare words."""
    need("transformers")
    from finetune.measuring.mask_predict import (  # noqa: PLC0415
        MaskPredictEvaluation,
        run,
    )

    _tell_written(run(MaskPredictEvaluation(**options)))
