"""The `synth` command: thin wrappers over the library; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from synth.command_group import CommandGroup
from synth.errors import WrongUse

Options = Callable[[Callable[..., Any]], Callable[..., Any]]


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="potstill", prog_name="synth")
def main() -> None:
    """Make distillation datasets: prompt packs drive a teacher, filters decide what is kept.

    Exit codes: 0 finished; 2 wrong use, pack or input, before any call; 3 finished but rows failed or are missing;
    4 stopped by the budget; 5 stopped by the provider or the machine; 130 interrupted. 3, 4, 5 and 130 resume
    when the same command runs again.
    """


def _sets(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:  # noqa: ARG001
    import yaml  # noqa: PLC0415

    pairs = [value.partition("=") for value in values]
    bad = next((p for p in pairs if not p[1]), None)
    if bad:
        raise WrongUse("--set", repr(bad[0]), "STEP.key=value", "For example --set rationale.sampling.temperature=0.2.")
    try:
        return {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise WrongUse("--set", f"a value that is no YAML ({error})", "STEP.key=value", "Quote the value.") from error


def _roles(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:  # noqa: ARG001
    pairs = [value.partition("=") if "/" not in value.partition("=")[0] else ("", "", value) for value in values]
    return {(role if equals else "teacher"): (name if equals else (name or role)) for role, equals, name in pairs}


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
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
            callback=_roles,
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
            callback=_sets,
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
        click.option("--tpm", type=click.FloatRange(min=0, min_open=True), help="Tokens a minute at most, in and out."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
def packs() -> None:
    """List the built-in packs."""
    from synth.packs import Pack, pack_names  # noqa: PLC0415

    for name in pack_names():
        click.echo(f"{name:24} {Pack.load(name).spec.about}")


@main.command()
@click.argument("pack")
@click.option("--input", "source", metavar="FILE", help="Render the first seed of this file.")
@click.option("--set", "overrides", multiple=True, callback=_sets, metavar="STEP.key=value", help="Change the pack first.")
def show(pack: str, source: str | None, overrides: dict[str, Any]) -> None:
    """Show a pack: inputs, steps, filters, exports, and the first seed rendered."""
    from synth.show import describe, render_first  # noqa: PLC0415

    click.echo(describe(pack, overrides))
    if source:
        click.echo(render_first(pack, source, overrides))


@main.command()
@click.argument("pack")
@click.option("--input", "source", metavar="FILE", help="Also check every row of this file.")
@click.option("--set", "overrides", multiple=True, callback=_sets, metavar="STEP.key=value", help="Change the pack first.")
def check(pack: str, source: str | None, overrides: dict[str, Any]) -> None:
    """Check a pack, its cases and an input, without a call."""
    from synth.show import check_cases  # noqa: PLC0415

    cases, replies = check_cases(pack, overrides)
    click.echo(f"{pack}: pack is sound; {cases} cases render, {replies} recorded replies read as declared")
    if source:
        from synth import prepare  # noqa: PLC0415

        _, seeds, scan = prepare.check(pack, source, prepare.RunConfig(teachers={}, overrides=overrides))
        click.echo(f"{seeds.where}: {scan.rows:,} rows, all usable")


@main.command()
@click.argument("pack")
@_run_options
@click.option("--output", type=click.Path(path_type=Path), default=Path("nowhere"), metavar="DIR", help="A run's folder, to plan its rest.")
def plan(pack: str, source: str, output: Path, **options: Any) -> None:
    """Say what a run would take: calls, tokens, dollars, time. No call is made.

    Lengths and shares that earlier runs measured count where --output or --reuse names their folders.
    """
    from synth.plan import describe_plan  # noqa: PLC0415
    from synth.prepare import RunConfig, prepare  # noqa: PLC0415

    click.echo(describe_plan(prepare(pack, source, output, RunConfig(**_with_teacher(options)))))


@main.command()
@click.argument("pack")
@_run_options
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run's folder; the same again resumes.",
)
@click.option("--budget", type=click.FloatRange(min=0), metavar="USD", help="Dollars at most, earlier runs into DIR included.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for one request.",
)
@click.option(
    "--target", type=click.IntRange(1), metavar="N", help="Exactly N kept rows: more seeds, then more draws, until they are there."
)
@click.option("--max-draws", type=click.IntRange(1), default=64, show_default=True, help="Completions per sample at most, for --target.")
@click.option("--serial", is_flag=True, help="One call at a time, to see what happens.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def run(ctx: click.Context, /, pack: str, source: str, output: Path, *, quiet: bool, serial: bool, **options: Any) -> None:
    """Make a dataset: every seed through every step of PACK into DIR."""
    from synth.prepare import RunConfig, prepare  # noqa: PLC0415
    from synth.progress import progress  # noqa: PLC0415
    from synth.runner import start  # noqa: PLC0415

    if serial:
        options["concurrency"] = 1
    # Rows make no reference cycles: looking for them after every 700 new objects costs a sixth of the CPU.
    gc.set_threshold(100_000, 50, 50)
    prepared = prepare(pack, source, output, RunConfig(**_with_teacher(options)))
    with progress(prepared, quiet=quiet):
        done = start(prepared)
    from synth.show import tally  # noqa: PLC0415

    click.echo(tally(done.info))
    if done.stopped:
        click.echo(f"synth: stopped: {done.stopped}. Everything so far is kept; the same command resumes.", err=True)
    ctx.exit(done.exit_code)


def _with_teacher(options: dict[str, Any]) -> dict[str, Any]:
    if not options["teachers"]:
        todo = "For example --teacher openai/gpt-4o-mini, or --teacher simulated/slips to try without one."
        raise WrongUse("--teacher", "none", "at least one teacher", todo)
    return options


@main.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FORMAT",
    help="sft, preference or multitask, with parameters as NAME:key=value,...",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE_OR_DIR",
    help=".jsonl, .parquet or a folder.",
)
@click.option("--pack", help="Use this pack's templates instead of the run's own copy.")
def export(folder: str, target: str, output: Path, pack: str | None) -> None:
    """Write training rows from a run; costs no call."""
    from synth import registry  # noqa: PLC0415
    from synth.datasets._folder import RunFolder  # noqa: PLC0415
    from synth.datasets.base import pack_of, write_rows  # noqa: PLC0415
    from synth.packs import Pack  # noqa: PLC0415

    maker = registry.build("synth.datasets", target, "--to")
    run_folder = RunFolder(folder)
    count = write_rows(maker.rows(run_folder, Pack.load(pack) if pack else pack_of(run_folder)), output)
    click.echo(f"{count:,} rows -> {output}")


@main.command(name="filter")
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Rows with `completion`, or with ready fields such as `answer`.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Kept rows (.jsonl); dropped ones beside it.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    required=True,
    metavar="NAME[:key=value,...]",
    help="A filter; several run in order.",
)
@click.option("--parser", default="final_number", show_default=True, help="Reads rows that have no `answer` yet.")
@click.option("--group", default="question", show_default=True, help="Column that draws of one seed share.")
def filter_(source: str, output: Path, filters: tuple[str, ...], parser: str, group: str) -> None:
    """Filter any rows by file: kept unchanged plus their marks, dropped with reasons beside them."""
    from synth.sieve import sieve  # noqa: PLC0415

    counts = sieve(source, output, filters, parser=parser, group=group)
    from synth.datasets._card import tally_table  # noqa: PLC0415

    click.echo(tally_table(counts))
    click.echo(f"kept -> {output}")


@main.command()
@click.argument("folder", metavar="DIR")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Also write every raw reply to this .jsonl file.")
def journal(folder: str, output: Path | None) -> None:
    """Count what a run's journal holds, also while the run goes on."""
    from synth.show import journal_counts  # noqa: PLC0415

    click.echo(journal_counts(Path(folder), output))


@main.command()
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write DIR/report.html, a page about a run that a person can read."""
    from synth.report.page import write_report  # noqa: PLC0415

    click.echo(str(write_report(folder)))


if __name__ == "__main__":
    sys.exit(main())
