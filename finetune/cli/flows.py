"""`finetune flow`: every stage and round of a system in one command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from finetune.cli.distilling import codistill, distill
from finetune.cli.measuring import evaluate
from finetune.cli.model_name import MODEL
from finetune.cli.retrieving import evaluate_retriever, retriever
from finetune.cli.shared import flags, need
from finetune.cli.training import (
    cpo,
    critic,
    curriculum,
    dpo,
    fade,
    grpo,
    kto,
    nat,
    orpo,
    rank,
    sft,
)
from synth.cli.command_group import Decorator, output_option, say, together
from synth.cli.numbers import Number, Whole
from synth.cli.overrides import as_wanted, sets
from synth.cli.shared import (
    endpoint_options,
    limit_options,
    plugin_option,
    roles,
    tool_option,
)
from synth.core.errors import WrongUse
from synth.core.money import dollars

if TYPE_CHECKING:
    from finetune.core.rows import JsonObject
    from finetune.flows.loading import Flow
    from finetune.flows.player import FlowConfig
    from finetune.flows.schema import StageSpec

# A stage says a line of its own: no bars of datasets and transformers, which read these variables
# when they are imported.
_BARS = ("HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS")
_COMMANDS: dict[str, click.Command] = {
    str(command.name): command
    for command in (
        *(sft, dpo, kto, cpo, orpo, grpo, rank, nat, curriculum, fade),
        *(critic, distill, codistill, retriever),
    )
}
# Recipes that have another name than their command.
_RECIPES = {"rank": "plad"}


def _pairs(option: str) -> Callable[..., dict[str, str]]:
    """Reads NAME=VALUE pairs of an option."""

    def read(
        ctx: click.Context,  # noqa: ARG001
        param: click.Parameter,  # noqa: ARG001
        values: Sequence[str],
    ) -> dict[str, str]:
        pairs = {}
        for text in values:
            name, equals, value = text.partition("=")
            if not equals or not value or name in pairs:
                raise WrongUse(
                    option,
                    repr(text),
                    "NAME=VALUE, each name once",
                    f"For example {option} held_out=test.jsonl.",
                )
            pairs[name] = value
        return pairs

    return read


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a flow is given."""
    options: list[Decorator] = [
        click.option(
            "--input",
            "source",
            metavar="FILE",
            help="Rows that it starts from.",
        ),
        click.option(
            "--rows",
            "inputs",
            multiple=True,
            callback=_pairs("--rows"),
            metavar="NAME=FILE",
            help="Other rows that the flow asks for, such as held_out=FILE.",
        ),
        click.option(
            "--student",
            type=MODEL,
            help="The model that learns, as --model elsewhere.",
        ),
        click.option(
            "--model",
            "models",
            multiple=True,
            callback=_pairs("--model"),
            metavar="NAME=M",
            help="Other models that the flow asks for.",
        ),
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            callback=roles,
            metavar="[ROLE=]T",
            help="Who answers in each role of the flow.",
        ),
        click.option(
            "--budget",
            type=Number(min=0, min_open=True),
            metavar="USD",
            help="Dollars at most, for all paid calls of all rounds.",
        ),
        output_option(
            "For everything that the flow makes; the same again resumes."
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            callback=sets,
            metavar="KEY=VALUE",
            help="A value of the flow, `rounds`, or STAGE.key of a stage.",
        ),
        tool_option,
        plugin_option,
        *endpoint_options(),
        *limit_options(),
        click.option(
            "--concurrency",
            type=Whole(1),
            help="Calls in flight at most.",
        ),
        click.option(
            "--timeout",
            type=Number(min=0, min_open=True),
            metavar="SECONDS",
            help="For one call.",
        ),
        click.option(
            "--plan",
            "plan_only",
            is_flag=True,
            help="Say what it would do and cost, and do nothing.",
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print flow.json at the end.",
        ),
    ]
    return together(*options)(command)


class _Flow(click.Group):
    """A group that takes the name of a flow where a command is due: `flow star` is `flow run
    star`.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the words."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group("flow", cls=_Flow)
def flow() -> None:
    """Run every stage and round of a system: data, training, answers, measures, again."""


@flow.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Draw a flow: what it asks for, its stages, what each reads and leaves."""
    from finetune.flows.drawing import drawn  # noqa: PLC0415
    from finetune.flows.loading import load  # noqa: PLC0415

    say(drawn(load(name)))


@flow.command("list")
def list_() -> None:
    """List the flows."""
    from finetune.flows.loading import flow_names, load  # noqa: PLC0415

    for name in flow_names():
        say(f"{name}: {load(name).spec.about}")


@flow.command("run")
@click.argument("name")
@_options
def run(name: str, *, plan_only: bool, as_json: bool, **options: Any) -> None:
    """Play a flow by its name, or a folder's flow.yaml."""
    from finetune.flows.loading import load  # noqa: PLC0415

    def settled(overrides: JsonObject) -> FlowConfig:
        said = {**options, "overrides": overrides}
        return _config(load(name, overrides), said)

    config = settled(as_wanted(options["overrides"], settled))
    if plan_only:
        from finetune.flows.planning import describe  # noqa: PLC0415

        say(describe(config))
        return
    need("trl")
    from finetune.flows.player import Player, check_reach  # noqa: PLC0415

    check_reach(config)
    for variable in _BARS:
        os.environ.setdefault(variable, "1")
    done = Player(config, _trainings(), say).play()
    if as_json:
        say(json.dumps(done, indent=1))
        return
    say(_end(done, config.output))


def _config(loaded: Flow, options: JsonObject) -> FlowConfig:
    from finetune.flows.loading import INPUT, STUDENT  # noqa: PLC0415
    from finetune.flows.player import FlowConfig, check  # noqa: PLC0415

    given = {INPUT: options["source"], STUDENT: options["student"]}
    named = {name: value for name, value in given.items() if value is not None}
    for name in named:
        if name in options["inputs"] or name in options["models"]:
            raise WrongUse(
                f"--{name}",
                f"another {name} under --rows or --model",
                "one of them",
                "Take one out.",
            )
    of_runs = (
        *("api_base", "endpoints", "api_key_env", "header", "price"),
        *("rpm", "tpm", "concurrency", "timeout"),
    )
    config = FlowConfig(
        flow=loaded,
        inputs={k: v for k, v in named.items() if k == INPUT}
        | options["inputs"],
        models={k: v for k, v in named.items() if k == STUDENT}
        | options["models"],
        teachers=options["teachers"],
        output=Path(options["output"]),
        budget=options["budget"],
        run={name: options[name] for name in of_runs if options[name]},
        overrides=options["overrides"],
        tools=options["tools"],
        plugins=tuple(options["plugins"]),
    )
    check(config)
    for stage in loaded.spec.stages():
        _check_settings(loaded, stage)
    return config


def _check_settings(loaded: Flow, stage: StageSpec) -> None:
    """What a stage is told is what its command takes, as the first round will have it.

    Raises:
        WrongUse: it is not, with the line of the stage.
    """
    from finetune.flows.formulas import rendered  # noqa: PLC0415
    from finetune.flows.schema import RETRIEVER  # noqa: PLC0415
    from finetune.flows.words import words_of, words_of_losses  # noqa: PLC0415
    from finetune.settings import check_fields  # noqa: PLC0415

    if stage.kind not in ("train", "evaluate", "answer"):
        return
    line = loaded.spots[stage.name].line
    values = {**loaded.spec.values, "round": 0}
    words = ["--data", ".", "--model", "M", "--output", "O"]
    for name in stage.models:
        words += words_of(name, "M")
    words += words_of_losses(stage)
    for key, value in stage.set.items():
        if key == "processes":
            raise WrongUse(
                f"{line} set.processes",
                f"{value}",
                "one process: a flow is one itself",
                "Take it out, or train with the command of that stage.",
            )
        said = rendered(value, values, f"{line} set.{key}")
        # A reply that is not drawn is a temperature of 0; an evaluation draws or takes none.
        if (stage.kind, key, said) != ("answer", "temperature", 0):
            words += words_of(key, said)
    command = _COMMANDS.get(str(stage.train), evaluate)
    if stage.evaluate == RETRIEVER:
        command = evaluate_retriever
    try:
        context = command.make_context(stage.kind, words)
        if stage.train is not None:
            recipe = _RECIPES.get(stage.train, stage.train)
            check_fields(recipe, flags(context.args))
    except click.ClickException as error:
        wanted = f"what `finetune {command.name}` takes"
        raise WrongUse(
            f"{line} set", error.format_message(), wanted, "Correct it."
        ) from error
    except WrongUse as error:
        where, *more = error.args
        raise WrongUse(f"{line} set: {where}", *more) from error


def _trainings() -> Mapping[str, Callable[[Sequence[str]], None]]:
    """Command -> what runs it with words as they would be typed."""
    return {
        name: partial(_invoke, command) for name, command in _COMMANDS.items()
    }


def _invoke(command: click.Command, words: Sequence[str]) -> None:
    # What a training says of itself stands in its record, and in the stage's own line.
    with redirect_stdout(StringIO()):
        try:
            command.main(
                args=list(words),
                prog_name=f"finetune {command.name}",
                standalone_mode=False,
            )
        except click.Abort as error:
            # What click makes of Ctrl-C.
            raise KeyboardInterrupt from error


def _end(done: JsonObject, output: Path) -> str:
    """What a flow came to."""
    lines = [f"{done['flow']}: finished, {dollars(done['usd'])} -> {output}"]
    if done["ended"]:
        lines.append(f"the rounds ended: {done['ended']}")
    if done["best"] is not None:
        lines.append(f"the best round: {done['best']}")
    phases = [("before", done["before"])]
    phases += [
        (f"round {n}", played) for n, played in enumerate(done["rounds"])
    ]
    phases += [("after", done["after"])]
    lines += [
        f"student of {name} ({phase}): {output / result['folder']}"
        for phase, played in phases
        for name, result in played.items()
        if "steps" in result
    ]
    return "\n".join(lines)
