"""What the commands of `finetune` share: their options, and the way from a command line to
`run(config)`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from finetune.cli.launching import launched
from finetune.cli.model_name import MODEL
from finetune.core.rows import JsonObject
from finetune.core.sharding import KINDS, check
from finetune.data.going_on import GoingOn
from finetune.data.held_out import ALONE, EXACT_MATCH, HeldOut
from finetune.data.prompts import TEMPLATES
from synth.cli.command_group import output_option, say, together
from synth.cli.numbers import Number, Whole, check_finite
from synth.core.errors import WrongUse
from synth.core.optional import require
from synth.core.registry import scalar
from synth.processes import ranks

if TYPE_CHECKING:
    from finetune.settings import Shape

# Commands that hand unknown flags on to the trainer's configuration.
EXTRA = {"ignore_unknown_options": True, "allow_extra_args": True}


def template_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--template."""
    about = "Whether rows go through the chat template; auto: messages do."
    kind = click.Choice(TEMPLATES)
    return click.option(
        "--template", type=kind, default="auto", show_default=True, help=about
    )(command)


def rows_there(
    context: click.Context,  # noqa: ARG001
    option: click.Parameter,
    source: str | None,
) -> str | None:
    """The rows that an option names, once it is known that a path leads somewhere; what was left
    out as it is.
    """
    from finetune.data.rows import there  # noqa: PLC0415 - for those who train

    return there(source, option.opts[0]) if source else source


def only_with(owner: str) -> Callable[..., Any]:
    """A callback that refuses an option which is said where the option that reads it is not.

    Args:
        owner: such as `--chunks`; it is eager, so that it is read before.
    """

    def check(
        context: click.Context, option: click.Parameter, value: Any
    ) -> Any:
        said = context.get_parameter_source(str(option.name))
        is_read = context.params.get(owner.removeprefix("--"))
        if said is ParameterSource.COMMANDLINE and not is_read:
            raise click.UsageError(
                f"{option.opts[0]} is read with {owner} alone.", context
            )
        return value

    return check


def rows_option(
    about: str, *, metavar: str = "ROWS", required: bool = True
) -> Callable[..., Any]:
    """--data, also called --input: the rows that a command reads.

    Args:
        about: what they are.
        metavar: what stands for them in the help.
        required: whether nothing is done without.
    """
    return click.option(
        "--data",
        "--input",
        "data",
        required=required,
        metavar=metavar,
        callback=rows_there,
        help=about,
    )


# What --model may be: a student that is made on the spot, too, or one that is opened.
MADE = "A path, a hub name, scratch:[t5-]tiny|mini|small, or truncate:PATH:layers=N."
OPENED = "A path, a hub name, or truncate:PATH:layers=N."


def train_options(
    command: Callable[..., Any], about: str = MADE
) -> Callable[..., Any]:
    """--data, --model, --output, --config, --lora and --dtype.

    Args:
        command: that gets them.
        about: what --model may be.
    """
    return together(
        rows_option(
            "A run folder, an exported folder or file, or a dataset name.",
            metavar="DIR",
        ),
        functools.partial(student_options, about=about),
    )(command)


def opened_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`train_options` of a command whose student is opened, never made."""
    return train_options(command, OPENED)


def evaluation_options(about: str) -> Callable[..., Any]:
    """--data and --output of a command that measures.

    Args:
        about: its rows.
    """
    return together(
        rows_option(about),
        output_option("For evaluation.json and predictions.jsonl."),
    )


def student_options(
    command: Callable[..., Any], about: str = OPENED
) -> Callable[..., Any]:
    """Those of `train_options` but the rows."""
    return together(
        click.option("--model", required=True, type=MODEL, help=about),
        output_option("Where the student goes."),
        click.option(
            "--config",
            metavar="FILE",
            help="YAML with fields of the TRL config; flags overrule it.",
        ),
        click.option(
            "--lora",
            is_flag=False,
            flag_value="",
            default=None,
            metavar="[key=value,...]",
            help="Train LoRA adapters; r, lora_alpha, ...",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            help="Number type of the student's weights; auto: that of its files. Default: auto, "
            "float32 on a CPU without bf16.",
        ),
        click.option(
            "--processes",
            type=Whole(1),
            default=1,
            show_default=True,
            help="Processes that train together on this machine, each on rows of its own: one a "
            "GPU.",
        ),
    )(command)


def budget_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--tokens-per-batch."""
    return click.option(
        "--tokens-per-batch",
        type=Whole(1),
        metavar="N",
        help="Rows of like length fill a batch up to N tokens, padding included, in the place of "
        "--per-device-train-batch-size.",
    )(command)


def shape_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a student is trained to be besides its weights."""
    return together(
        click.option(
            "--layer-drop",
            type=Number(0, 1, max_open=True),
            default=0.0,
            metavar="SHARE",
            help="Leave out each layer at so many of its passes (LayerDrop), so that the student "
            "can be cut: --model truncate:STUDENT:every=2.",
        ),
        click.option(
            "--weight-bits",
            type=Whole(2, 8),
            metavar="N",
            help="Round the weights of the layers to N bits in every pass, and in the student that "
            "is saved (quantisation-aware); 2 are -a, 0 and a.",
        ),
        click.option(
            "--student-bits",
            type=click.Choice(["4", "8"]),
            help="Round the weights under --lora as they are read (QLoRA; bitsandbytes).",
        ),
    )(command)


def shape_in(options: JsonObject) -> Shape:
    """`Shape` of a command's options, which are taken out of them."""
    from finetune.settings import Shape  # noqa: PLC0415

    bits = options.pop("student_bits")
    return Shape(
        layer_drop=options.pop("layer_drop"),
        weight_bits=options.pop("weight_bits"),
        student_bits=None if bits is None else int(bits),
    )


def resume_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--resume."""
    return click.option(
        "--resume",
        is_flag=True,
        help="Go on from the last checkpoint in --output, if there is one, and save one an epoch "
        "(or by --save-strategy): the same command again goes on where it stopped.",
    )(command)


def optimizer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What becomes of the optimizer, where trainings follow each other as parts of one."""
    return together(
        click.option(
            "--optimizer-of",
            metavar="DIR",
            help="A student that was trained with --keep-optimizer, such as --model: its optimizer "
            "goes on, with its means and its place on the way of the learning rate.",
        ),
        click.option(
            "--keep-optimizer",
            is_flag=True,
            help="Keep the optimizer in --output (twice the size of the trained weights), so that "
            "another training can go on with it.",
        ),
        click.option(
            "--steps-in-all",
            type=Whole(1),
            metavar="N",
            help="Steps of all such trainings together, over which the learning rate runs; else "
            "those up to the end of this one.",
        ),
    )(command)


def going_on_in(options: JsonObject) -> GoingOn:
    """What `optimizer_options` say, taken out of the options."""
    return GoingOn(
        options.pop("optimizer_of"),
        options.pop("keep_optimizer"),
        options.pop("steps_in_all"),
    )


def sharding_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--sharding."""
    return click.option(
        "--sharding",
        type=click.Choice(KINDS),
        help="Each of --processes N holds a part of every weight, of its gradient and of its state "
        "in the optimiser, for models that one GPU cannot hold; zero3 by DeepSpeed.",
    )(command)


def held_out_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--held-out, and what is done with what its rows show."""
    return together(
        click.option(
            "--held-out",
            metavar="DIR",
            callback=rows_there,
            help="Rows that are measured while it trains, as --data: once an epoch and at the end, "
            "or every --eval-steps N (steps, or a share of all).",
        ),
        click.option(
            "--keep-best",
            is_flag=False,
            flag_value="loss",
            default="",
            metavar="[MEASURE]",
            help="The checkpoint that measures best becomes the student: loss, exact_match; of "
            "distill also kl, cross_entropy, agreement, accuracy (--task). Without a name: loss.",
        ),
        click.option(
            "--patience",
            type=Whole(0),
            default=0,
            show_default=True,
            help="Stop after so many measurements without a better one; 0: never.",
        ),
        click.option(
            "--measure",
            type=click.Choice([EXACT_MATCH]),
            help="Also answer rows of --held-out, as `finetune evaluate` does.",
        ),
        click.option(
            "--measure-rows",
            type=Whole(1),
            default=100,
            show_default=True,
            help="Rows that are answered (--measure), at most.",
        ),
        click.option(
            "--measure-parser",
            default="final_number",
            show_default=True,
            metavar="NAME[:key=value,...]",
            help="Reads the answers (--measure).",
        ),
        click.option(
            "--measure-tokens",
            type=Whole(1),
            default=256,
            show_default=True,
            help="Tokens of an answer (--measure), at most.",
        ),
    )(command)


def held_out_in(
    options: JsonObject, measures: Iterable[str] = ALONE
) -> HeldOut | None:
    """What `held_out_options` say, taken out of the options; None without --held-out.

    Args:
        options: of a command.
        measures: that its training takes for --keep-best.

    Raises:
        WrongUse: something of rows held out, and no such rows; or another measure.
    """
    data = options.pop("held_out")
    made = HeldOut(
        data=data or "",
        keep_best=options.pop("keep_best"),
        patience=options.pop("patience"),
        measure=options.pop("measure") or "",
        rows=options.pop("measure_rows"),
        parser=options.pop("measure_parser"),
        new_tokens=options.pop("measure_tokens"),
    )
    if data:
        made.check(measures)
        return made
    if made != HeldOut(data=""):
        raise WrongUse(
            "--keep-best, --patience or --measure",
            "no --held-out",
            "rows to measure",
            "Give --held-out FILE too, or leave them out.",
        )
    return None


def train(
    recipe: str,
    ctx: click.Context,
    config: str | None,
    lora: str | None,
    *,
    more: JsonObject | None = None,
    dtype: str | None = None,
    processes: int = 1,
    resume: bool = False,
    **options: Any,
) -> JsonObject:
    """Runs a recipe with the settings of a command line, says what came of it and returns it."""
    need("trl")
    check_finite(ctx.params)
    from finetune.settings import (  # noqa: PLC0415
        TrainConfig,
        check_fields,
        opened_in,
        read_config,
    )
    from finetune.students.checkpoints import resuming  # noqa: PLC0415

    adapters = (
        None
        if lora is None
        else dict(
            pair(text, "--lora") for text in filter(None, lora.split(","))
        )
    )
    trainer = read_config(config, flags(ctx.args))
    if resume:
        trainer = resuming(trainer)
    held = options.get("held_out")
    check_fields(str((more or {}).get("method", recipe)), trainer, held)
    count = ranks.processes() if ranks.is_launched() else processes
    check(options.get("sharding"), trainer, count)
    if processes > 1 and not ranks.is_launched():
        ctx.exit(launched(processes, sys.argv[1:]))
    if dtype is not None:
        trainer["model_init_kwargs"] = opened_in(
            dtype, trainer.get("model_init_kwargs")
        )
    info: JsonObject = import_module(f"finetune.recipes.{recipe}").run(
        TrainConfig(trainer=trainer, lora=adapters, **options), **(more or {})
    )
    loss = info["loss"]
    learnt = "none left" if loss is None else f"loss {loss:.4f}"
    say(
        f"{recipe}: {info['rows']:,} rows, {info['steps']:,} steps, {learnt}, "
        f"{info['trainable']:,} of "
        f"{info['parameters']:,} weights trained, {info['seconds']:.0f} s -> {options['output']}"
    )
    return info


def flags(args: list[str]) -> JsonObject:
    """`--learning-rate 1e-3`, `--packing` or `--learning_rate=1e-3` as TRL's field names."""
    fields: JsonObject = {}
    queue = list(args)
    while queue:
        word = queue.pop(0)
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            raise WrongUse(
                "finetune",
                f"{word!r}",
                "--field value",
                "Trainer fields are given as --field value.",
            )
        if not equals:
            value = (
                queue.pop(0)
                if queue and not queue[0].startswith("--")
                else "true"
            )
        fields[flag.removeprefix("--").replace("-", "_")] = scalar(value)
    return fields


def interval(share: Mapping[str, float]) -> str:
    """How sure a share is, in words.

    >>> interval({"low": 0.1, "high": 0.25})
    '(95 %: 0.100 to 0.250)'
    """
    return f"(95 %: {share['low']:.3f} to {share['high']:.3f})"


def pair(text: str, where: str) -> tuple[str, Any]:
    """(key, value) of key=value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise WrongUse(
            where,
            repr(text),
            "key=value",
            f"Write it as {where} NAME=VALUE.",
        )
    return key.strip(), scalar(value.strip())


def numbers(text: str, where: str) -> list[float]:
    """Numbers between commas.

    >>> numbers("1, 0.5,", "--stages")
    [1.0, 0.5]

    Raises:
        WrongUse: something else between them.
    """
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(float(part))
        except ValueError:
            raise WrongUse(
                where,
                repr(part),
                "numbers between commas",
                f"For example {where} 1,0.5.",
            ) from None
    return found


def need(package: str, extra: str = "finetune") -> None:
    """Refuses where a package is missing, and says how to get it."""
    require(package, extra, "finetune")
