"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from synth.errors import WrongUse


def sets(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:  # noqa: ARG001
    """STEP.key=value pairs, values read as YAML."""
    import yaml  # noqa: PLC0415

    pairs = [value.partition("=") for value in values]
    bad = next((p for p in pairs if not p[1]), None)
    if bad:
        raise WrongUse("--set", repr(bad[0]), "STEP.key=value", "For example --set rationale.sampling.temperature=0.2.")
    try:
        return {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise WrongUse("--set", f"a value that is no YAML ({error})", "STEP.key=value", "Quote the value.") from error


def roles(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:  # noqa: ARG001
    """Role -> teacher of [ROLE=]T."""
    pairs = [value.partition("=") if "/" not in value.partition("=")[0] else ("", "", value) for value in values]
    return {(role if equals else "teacher"): (name if equals else (name or role)) for role, equals, name in pairs}


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `plan` and `run` share."""
    options = [
        click.option(
            "--input",
            "source",
            required=True,
            metavar="FILE",
            help="Seeds: .jsonl .json .csv .parquet, - or a dataset name.",
        ),
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            callback=roles,
            metavar="[ROLE=]T",
            help="openai/MODEL, PROVIDER/MODEL, simulated/NAME, replay/FILE.",
        ),
        click.option("--limit", type=click.IntRange(1), help="Only the first N seeds."),
        click.option("--draws", type=click.IntRange(1), help="Completions per sample."),
        click.option("--seed", type=int, help="Sampling seed; draw k asks with seed + k."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            callback=sets,
            metavar="STEP.key=value",
            help="Change the pack for this run.",
        ),
        click.option("--id-column", default="id", show_default=True, help="Column with your own ids."),
        click.option("--api-base", metavar="URL", help="Another OpenAI-compatible endpoint."),
        click.option("--price", metavar="IN,OUT", help="Dollars per million tokens; IN,OUT,CACHED where cached input is cheaper."),
        click.option("--concurrency", type=click.IntRange(1), default=64, show_default=True, help="Calls in flight at most."),
        click.option("--rpm", type=click.FloatRange(min=0, min_open=True), help="Requests a minute at most."),
        click.option("--reuse", multiple=True, metavar="DIR", help="Another run's folder, whose replies serve this one too."),
        click.option("--batch", is_flag=True, help="Ask OpenAI's Batch API: about half the price, up to a day of waiting."),
        click.option("--taint", multiple=True, metavar="NAME", help="What the teacher was trained on: it stands in every row."),
        click.option("--tpm", type=click.FloatRange(min=0, min_open=True), help="Tokens a minute at most, in and out."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def with_teacher(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a run, which needs a teacher."""
    if not options["teachers"]:
        todo = "For example --teacher openai/gpt-4o-mini, or --teacher simulated/slips to try without one."
        raise WrongUse("--teacher", "none", "at least one teacher", todo)
    return options
