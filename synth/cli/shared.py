"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from synth.cli.command_group import Decorator, output_option, together
from synth.cli.overrides import of_pack, sets
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from synth.core.records import Fields


T = TypeVar("T")


# What stands before `=` where a value is for one role: a URL or a model's name has signs that no
# role has.
_ROLE = re.compile(r"([A-Za-z_][\w.-]*)=")


def _split_role(text: str) -> tuple[str, str]:
    """(role, value) of [ROLE=]VALUE; the role is "" where none is named."""
    named = _ROLE.match(text)
    return (named[1], text[named.end() :]) if named else ("", text)


def _collect(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Role -> value.

    Raises:
        WrongUse: one role twice.
    """
    by_role: dict[str, T] = {}
    for role, value in pairs:
        if role in by_role:
            got = f"two values for {f'role {role!r}' if role else 'all roles'}"
            raise WrongUse(
                option,
                got,
                "one value for each role",
                f"Take one out, or name the role of each: {option} ROLE=...",
            )
        by_role[role] = value
    return by_role


def roles(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> dict[str, str]:
    """Role -> teacher of [ROLE=]T."""
    return _collect(
        "--teacher",
        ((role or "teacher", name) for role, name in map(_split_role, values)),
    )


def for_roles(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    values: Sequence[str],
) -> dict[str, str]:
    """Role -> text of [ROLE=]TEXT."""
    return _collect(
        f"--{(param.name or '').replace('_', '-')}", map(_split_role, values)
    )


def draws(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> int | dict[str, int] | None:
    """N, or step -> N, of [STEP=]N."""
    by_role = for_roles(ctx, param, values)
    try:
        numbers = {step: int(text) for step, text in by_role.items()}
    except ValueError:
        numbers = {"": 0}
    if not all(number >= 1 for number in numbers.values()):
        raise WrongUse(
            "--draws",
            ", ".join(values),
            "[STEP=]N, a whole number from 1 on",
            "For example --draws 4.",
        )
    if "" in numbers and len(numbers) > 1:
        raise WrongUse(
            "--draws",
            ", ".join(values),
            "one number, or one for each named step",
            "Name the step of each.",
        )
    return numbers.get("", numbers or None)


def rates(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> dict[str, float]:
    """Role -> number above 0 of [ROLE=]N."""
    by_role = for_roles(ctx, param, values)
    try:
        numbers = {role: float(text) for role, text in by_role.items()}
    except ValueError:
        numbers = {"": -1.0}
    if not all(0 < number < inf for number in numbers.values()):
        raise WrongUse(
            f"--{param.name}",
            ", ".join(values),
            "[ROLE=]N, a number above 0",
            f"For example --{param.name} critic=60.",
        )
    return numbers


def headers(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> dict[str, dict[str, str]]:
    """Role -> {header: environment variable} of [ROLE:]NAME=ENVVAR."""
    by_role: dict[str, dict[str, str]] = {}
    for text in values:
        head, equals, variable = text.partition("=")
        role, colon, name = head.rpartition(":")
        if not equals or not name or (colon and not role):
            # The text itself may be a secret: it is not repeated.
            todo = "Put the value into a variable and name it: --header X-Team=TEAM_VARIABLE."
            raise WrongUse(
                "--header",
                "another text",
                "[ROLE:]NAME=ENVVAR",
                todo,
            )
        if name in by_role.setdefault(role, {}):
            raise WrongUse(
                "--header",
                f"{name} twice",
                "each header once",
                "Take one out.",
            )
        by_role[role][name] = variable
    return by_role


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Modules whose parts a pack may name."""
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="MODULE",
        help="A module of your own whose parts a file may name as MODULE:Class.",
    )(command)


def columns(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> dict[str, str]:
    """New name -> name in the input, of NEW=OLD."""
    pairs = [value.partition("=") for value in values]
    bad = next(
        (
            new + equals + old
            for new, equals, old in pairs
            if not (new and equals and old)
        ),
        None,
    )
    if bad is not None:
        raise WrongUse(
            "--column",
            repr(bad),
            "NEW=OLD",
            "For example --column question=prompt.",
        )
    names = [new for new, _, _ in pairs]
    twice = next((new for new in names if names.count(new) > 1), None)
    if twice is not None:
        raise WrongUse(
            "--column",
            f"{twice} twice",
            "each new name once",
            "Take one out.",
        )
    return {new: old for new, _, old in pairs}


column_option = click.option(
    "--column",
    "columns",
    multiple=True,
    callback=columns,
    metavar="NEW=OLD",
    help="Read the input's column OLD as NEW, for example question=prompt.",
)


def tools(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> dict[str, str]:
    """Tool -> what answers it, of NAME=TARGET."""
    bound: dict[str, str] = {}
    for value in values:
        name, _, target = value.partition("=")
        if not (name and target):
            raise WrongUse(
                "--tool",
                repr(value),
                "NAME=MODULE:FUNCTION or NAME=ROLE",
                "For example --tool find=my_tools:find.",
            )
        if name in bound:
            raise WrongUse(
                "--tool",
                f"{name} twice",
                "each tool once",
                "Take one out.",
            )
        bound[name] = target
    return bound


tool_option = click.option(
    "--tool",
    "tools",
    multiple=True,
    callback=tools,
    metavar="NAME=TARGET",
    help="What answers a tool of the pack: MODULE:FUNCTION of a --plugin, or the role of a "
    "teacher that plays it.",
)


def preview_options(about: str) -> Decorator:
    """A pack, a file of seeds (`about` says what for), --column, --set and --plugin: what asks
    nobody.
    """
    return together(
        click.argument("pack"),
        click.option("--input", "source", metavar="FILE", help=about),
        column_option,
        click.option(
            "--set",
            "overrides",
            multiple=True,
            callback=sets,
            metavar="STEP.key=value",
            help="Change the pack first.",
        ),
        plugin_option,
    )


def endpoint_options() -> list[Decorator]:
    """How teachers are reached."""
    return [
        click.option(
            "--api-base",
            multiple=True,
            callback=for_roles,
            metavar="[ROLE=]URL",
            help="Another endpoint of OpenAI's protocol; with a role, the endpoint of any "
            "provider.",
        ),
        click.option(
            "--endpoints",
            multiple=True,
            callback=for_roles,
            metavar="[ROLE=]URL,URL",
            help="Many servers of one openai/MODEL: URLs, or a file or folder that lists them and "
            "may change.",
        ),
        click.option(
            "--api-key-env",
            multiple=True,
            callback=for_roles,
            metavar="[ROLE=]NAME",
            help="The environment variable that holds the key; OPENAI_API_KEY unless said.",
        ),
        click.option(
            "--header",
            multiple=True,
            callback=headers,
            metavar="[ROLE:]NAME=ENVVAR",
            help="A header that a gateway wants; its value is read from the variable.",
        ),
    ]


def limit_options() -> list[Decorator]:
    """What teachers cost, and how often they may be asked."""
    return [
        click.option(
            "--price",
            multiple=True,
            callback=for_roles,
            metavar="[ROLE=]IN,OUT",
            help="Dollars per million tokens; IN,OUT,CACHED where cached input is cheaper.",
        ),
        click.option(
            "--rpm",
            multiple=True,
            callback=rates,
            metavar="[ROLE=]N",
            help="Requests a minute at most.",
        ),
        click.option(
            "--tpm",
            multiple=True,
            callback=rates,
            metavar="[ROLE=]N",
            help="Tokens a minute at most, in and out.",
        ),
    ]


def sources(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> str | list[str] | None:
    """One input, or several; of none, those that the pack makes."""
    return values[0] if len(values) == 1 else list(values) or None


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the rows of a run go, and what they may replace."""
    return together(
        output_option(
            "The run's folder; the same again resumes. Or a folder of a store, such as "
            "s3://bucket/run, with --journal.",
            kind=str,
        ),
        click.option(
            "--journal",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="With --output in a store: the folder of this machine that keeps the journal.",
        ),
        click.option(
            "--keep-going",
            is_flag=True,
            help="Go on where not one of the first 20 seeds brings a row, and where a pool lacks a "
            "row whose call failed.",
        ),
        click.option(
            "--upgrade-pack",
            is_flag=True,
            help="Take a built-in pack as it is now, where it has changed since DIR was begun.",
        ),
        click.option(
            "--replace",
            is_flag=True,
            help="Replace the rows of another pack or of other inputs in DIR; replies stay.",
        ),
    )(command)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `plan` and `run` share."""
    return together(
        click.option(
            "--input",
            "source",
            multiple=True,
            callback=sources,
            metavar="FILE",
            help="Seeds: .jsonl .json .csv .tsv .parquet .arrow, packed or not, a folder, a "
            "pattern, s3://..., - or a dataset name. Several join. Without it, the rows that the "
            "pack's `seeds` make.",
        ),
        column_option,
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            callback=roles,
            metavar="[ROLE=]T",
            help="openai/MODEL, PROVIDER/MODEL, local/PATH, simulated/NAME, rehearsed/PACK, "
            "replay/FILE.",
        ),
        click.option(
            "--limit", type=click.IntRange(1), help="Only the first N seeds."
        ),
        click.option(
            "--draws",
            multiple=True,
            callback=draws,
            metavar="[STEP=]N",
            help="Completions per sample, at the named step; else where the pack draws several, "
            "else at the last step.",
        ),
        click.option(
            "--seed",
            type=int,
            help="Random seed that the provider gets; completion k of a row uses seed + k.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            callback=sets,
            metavar="STEP.key=value",
            help="Change the pack for this run.",
        ),
        click.option(
            "--schemas",
            is_flag=True,
            help="Ask JSON steps for their JSON Schema; a server that refuses it is told in words.",
        ),
        click.option(
            "--id-column",
            default="id",
            show_default=True,
            help="Column of the input that holds your own ids.",
        ),
        *endpoint_options(),
        *limit_options(),
        click.option(
            "--concurrency",
            type=click.IntRange(1),
            show_default="64, or the slots of a server of your own",
            help="Calls in flight at most.",
        ),
        click.option(
            "--reuse",
            multiple=True,
            metavar="DIR",
            help="Another run's folder, whose replies serve this one too.",
        ),
        click.option(
            "--same-teacher",
            is_flag=True,
            help="One model name at two endpoints is one teacher: replies may serve.",
        ),
        click.option(
            "--batch",
            is_flag=True,
            help="Ask the providers' batch APIs: about half the price, up to a day of waiting.",
        ),
        click.option(
            "--batch-bucket",
            metavar="URL",
            help="Of batches of Vertex AI: a folder of yours that requests and replies go "
            "through, such as gs://my-bucket/batches.",
        ),
        click.option(
            "--taint",
            multiple=True,
            metavar="NAME",
            help="Evaluation set that the teacher may have seen: it stands in meta.taint of "
            "every row, so that results on it carry a warning.",
        ),
        click.option(
            "--strict-terms",
            is_flag=True,
            help="Do not begin where the terms of a teacher restrict training on its replies, or a "
            "provider's are not known.",
        ),
        click.option(
            "--trace",
            is_flag=True,
            help="Send a span of each call to the collector that OpenTelemetry's variables name, "
            "such as OTEL_EXPORTER_OTLP_ENDPOINT.",
        ),
        click.option(
            "--report-to",
            multiple=True,
            metavar="TRACKER",
            help="Tell a tracker of experiments how the run goes: `mlflow` or `trackio`. It gets "
            "counts, tokens, dollars and settings, and no text.",
        ),
        plugin_option,
        tool_option,
        click.option(
            "--mcp",
            multiple=True,
            metavar="COMMAND",
            help="An MCP server: its command. It answers the tools of the pack that it has.",
        ),
        click.option(
            "--image-root",
            metavar="DIR",
            help="Folder below which rows may name images, for packs that show some.",
        ),
        click.option(
            "--image-urls",
            is_flag=True,
            help="Let rows name images by URL: the provider fetches them.",
        ),
    )(command)


def with_teacher(pack: str, options: Fields) -> Fields:
    """The options of a run, which needs a teacher; what `--set` says is as its pack wants it."""
    if not options["teachers"]:
        todo = (
            "For example --teacher openai/gpt-4o-mini, or --teacher simulated/slips to try "
            "without one."
        )
        raise WrongUse("--teacher", "none", "at least one teacher", todo)
    changes = of_pack(pack, options["overrides"], options["plugins"])
    return {**options, "overrides": changes}
