"""The `synth` command: thin wrappers over the library; everything heavy is imported by the command
that needs it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli.command_group import CommandGroup, output_option, say
from synth.cli.knowledge import lexicon, mine, pair_up, taxonomy
from synth.cli.looking import card, diff, journal, report, rows, view, why
from synth.cli.numbers import Number
from synth.cli.overrides import Sets, of_pack
from synth.cli.parts import context, init, list_
from synth.cli.pushing import push
from synth.cli.seeds import seeds
from synth.cli.shards import (
    cluster_of,
    merge,
    plan_run,
    shard_options,
    slurm,
    tell,
    what_next,
)
from synth.cli.shared import (
    output_options,
    plugin_option,
    preview_options,
    run_options,
    with_teacher,
)
from synth.cli.tuning import tune
from synth.processes.garbage import collect_seldom

if TYPE_CHECKING:
    from synth.pipeline.prepare import RunConfig
    from synth.pipeline.progress import Watch
    from synth.runs.result import Run


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="potstill", prog_name="synth")
def main() -> None:
    """Make distillation datasets: prompt packs drive a teacher, filters decide what is kept.

    Exit codes: 0 finished; 2 wrong use, pack or input, before any call; 3 finished but rows failed
    or are missing; 4 stopped by the budget; 5 stopped by the provider or the machine; 6 nothing
    kept, or stopped since nothing would be; 129, 130, 143 ended by SIGHUP, Ctrl-C, SIGTERM. 3 and
    all behind it resume when the same command runs again.
    """
    collect_seldom()
    # Looking for plug-ins of pydantic reads the metadata of every installed package, some 20 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@main.command(hidden=True)
@click.pass_context
def packs(context: click.Context) -> None:
    """List the packs, as `synth list packs` does: the name that earlier versions had for it."""
    context.invoke(list_, kind="packs", name=None, as_json=False)


@main.command()
@preview_options("Render the first seed of this file.")
def show(
    pack: str,
    source: str | None,
    columns: dict[str, str],
    overrides: Sets,
    plugins: tuple[str, ...],
) -> None:
    """Show a pack: inputs, steps, filters, exports, and the first seed rendered."""
    from synth.pipeline.preview import describe, render_first  # noqa: PLC0415

    changes = of_pack(pack, overrides, plugins)
    say(describe(pack, changes, plugins))
    if source:
        say(render_first(pack, source, changes, plugins, columns))


@main.command()
@preview_options("Also check every row of this file.")
def check(
    pack: str,
    source: str | None,
    columns: dict[str, str],
    overrides: Sets,
    plugins: tuple[str, ...],
) -> None:
    """Check a pack, its cases and an input, without a call."""
    from synth.pipeline.preview import check_cases  # noqa: PLC0415

    changes = of_pack(pack, overrides, plugins)
    cases, replies = check_cases(pack, changes, plugins)
    say(
        f"{pack}: pack is sound; {cases} cases render, {replies} recorded replies read as declared"
    )
    if source:
        from synth.pipeline import prepare  # noqa: PLC0415

        config = prepare.RunConfig(
            teachers={},
            overrides=changes,
            plugins=plugins,
            columns=columns,
        )
        _, seeds, scan = prepare.check(pack, source, config)
        say(f"{seeds.where}: {scan.rows:,} rows, all usable")
        if scan.golds:
            say(scan.golds)


@main.command()
@click.argument("pack")
@run_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("nowhere"),
    metavar="DIR",
    help="A run's folder, to plan its rest.",
)
@click.option(
    "--annotate",
    type=Number(min=0, min_open=True),
    metavar="USD",
    help="Price of a label by people: which is better?",
)
@click.option(
    "--pilot",
    metavar="FILE",
    help="For --annotate: measured students, {strategy, rows, wrong, tested}.",
)
@click.option(
    "--budget",
    type=Number(min=0, min_open=True),
    metavar="USD",
    help="For --annotate: dollars in all.",
)
@click.option(
    "--fixed",
    type=Number(min=0),
    default=0.0,
    metavar="USD",
    help="For --annotate: what training costs either way.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the sums and notes as JSON, for scripts.",
)
def plan(
    pack: str, source: str, output: Path, *, as_json: bool, **options: Any
) -> None:
    """Say what a run would take: calls, tokens, dollars, time. No call is made.

    Lengths and shares that earlier runs measured count where --output or --reuse names their
    folders. With --annotate also: labels by people or rows by the teacher, which brings the better
    student for the budget, and where that changes.
    """
    from synth.calls.token_counter import counter  # noqa: PLC0415
    from synth.core.records import canonical_json  # noqa: PLC0415
    from synth.pipeline.notes import notes_before  # noqa: PLC0415
    from synth.pipeline.plan import describe_choice, describe_plan, make_plan  # noqa: PLC0415
    from synth.pipeline.prepare import (  # noqa: PLC0415
        RunConfig,
        given_or_made,
        prepare,
    )

    ledger = {
        name: options.pop(name)
        for name in ("annotate", "pilot", "budget", "fixed")
    }
    config = RunConfig(**with_teacher(pack, options))
    seeds = given_or_made(source, pack, config)
    prepared = prepare(pack, seeds, output, config)
    notes = notes_before(prepared)
    if as_json:
        sums = make_plan(prepared, counter).summary()
        say(canonical_json({**sums, "notes": notes}).decode())
        return
    for note in notes:
        say(f"synth: note: {note}", err=True)
    say(describe_plan(prepared))
    if ledger["annotate"]:
        say(describe_choice(prepared, **ledger))


@main.command()
@click.argument("pack")
@run_options
@output_options
@click.option(
    "--budget",
    type=Number(min=0),
    metavar="USD",
    help="Dollars at most, earlier runs into DIR included.",
)
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for one call.",
)
@click.option(
    "--patience",
    type=Number(min=0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for one request at most, asked again and waiting; a Retry-After beyond it "
    "stops the run (exit code 5).",
)
@click.option(
    "--target",
    type=click.IntRange(1),
    metavar="N",
    help="Exactly N kept rows: more seeds, then more draws, until they are there.",
)
@click.option(
    "--max-draws",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Completions per sample at most, for --target.",
)
@shard_options
@click.option(
    "--serial", is_flag=True, help="One call at a time, to see what happens."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--verbose",
    is_flag=True,
    help="A line for every row that leaves and every call without a reply.",
)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    pack: str,
    source: str,
    output: str,
    *,
    journal: Path | None,
    quiet: bool,
    verbose: bool,
    serial: bool,
    **options: Any,
) -> None:
    """Make a dataset: every seed through every step of PACK into DIR."""
    from synth.inputs.files import shown  # noqa: PLC0415
    from synth.pipeline.prepare import RunConfig, given_or_made  # noqa: PLC0415
    from synth.pipeline.progress import progress  # noqa: PLC0415
    from synth.runs.store_copy import places_of  # noqa: PLC0415

    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose: give one of them.")
    if serial:
        options["concurrency"] = 1
    cluster = cluster_of(options)
    config = RunConfig(**with_teacher(pack, options))
    seeds = given_or_made(source, pack, config)
    folder, copy = places_of(
        output, journal, pack, seeds, replace=config.replace
    )
    show = partial(progress, quiet=quiet, verbose=verbose)
    job = pack, seeds, folder, config
    if cluster is not None:
        from synth.pipeline.on_ray import run_on_ray  # noqa: PLC0415

        done = run_on_ray(*job, cluster=cluster, watch=show)
    elif config.shards and config.shard is None:
        plan_run(*job)
        return
    else:
        done = _run_here(*job, watch=show)
    # A shard is sent with the others, once they are joined.
    if copy and config.shard is None:
        say(f"{copy.send()} files -> {shown(copy.url)}")
    tell(ctx, done, what_next(done, config.shard, folder))


def _run_here(
    pack: str, source: Any, output: Path, config: RunConfig, *, watch: Watch
) -> Run:
    """A run, or one shard of it, in this process."""
    from synth.packs.overrides import drawn_step  # noqa: PLC0415
    from synth.pipeline.notes import notes_before  # noqa: PLC0415
    from synth.pipeline.run import start  # noqa: PLC0415
    from synth.pipeline.shards import prepare_run  # noqa: PLC0415
    from synth.pipeline.tracking import tracked  # noqa: PLC0415
    from synth.processes.interrupts import raised  # noqa: PLC0415

    with raised():
        prepared = prepare_run(pack, source, output, config)
        for note in notes_before(prepared):
            say(f"synth: note: {note}", err=True)
        draws = prepared.config.draws
        steps = prepared.pack.steps
        if isinstance(draws, int) and len(steps) > 1:
            said = f"--draws {draws}: of step {drawn_step(steps)}"
            say(said, err=True)
        with watch(prepared), tracked(prepared):
            return start(prepared, leaves=True)


@main.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FORMAT",
    help="A name of `synth list exports`, or module:Class, with :key=value,... for parameters.",
)
@output_option(".jsonl, .parquet or a folder.", "FILE_OR_DIR")
@click.option(
    "--pack", help="Use this pack's templates instead of the run's own copy."
)
@plugin_option
def export(
    folder: str,
    target: str,
    output: Path,
    pack: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Write training rows from a run; costs no call."""
    from synth.core import registry  # noqa: PLC0415
    from synth.exports.base import pack_of, write_rows  # noqa: PLC0415
    from synth.packs.pack import Pack  # noqa: PLC0415
    from synth.runs.publisher import RunFolder  # noqa: PLC0415

    maker = registry.build("synth.exports", target, "--to", plugins)
    run_folder = RunFolder(folder)
    used = (
        Pack.load(pack, plugins=plugins)
        if pack
        else pack_of(run_folder, plugins)
    )
    count = write_rows(maker.rows(run_folder, used), output)
    say(f"{count:,} rows -> {output}")
    if not count:
        say(f"synth: note: {maker.why_none(run_folder)}", err=True)


@main.command(name="filter")
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Rows of any origin; a reply that is to be read is called `completion`.",
)
@output_option("Kept rows (.jsonl); dropped ones beside it.", "FILE")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    required=True,
    metavar="NAME[:key=value,...]",
    help="A name of `synth list filters`, or module:Class; several run in order.",
)
@click.option(
    "--parser",
    metavar="NAME",
    help="Reads `completion` of rows without `answer`; final_number where a filter needs one.",
)
@click.option(
    "--group",
    default="question",
    show_default=True,
    help="Column that draws of one seed share.",
)
@plugin_option
def filter_(
    source: str, output: Path, filters: tuple[str, ...], **options: Any
) -> None:
    """Filter any rows by file: kept unchanged plus their marks, dropped with reasons beside
    them.
    """
    from synth.pipeline.filter_file import sieve  # noqa: PLC0415

    counts = sieve(source, output, filters, **options)
    from synth.runs.card import tally_table  # noqa: PLC0415

    say(tally_table(counts))
    if counts["parser"]:
        say(f"completions read by {counts['parser']} (--parser)")
    say(f"kept -> {output}")
    dropped = output.with_name(f"{output.stem}.dropped.jsonl")
    say(f"dropped, with reasons -> {dropped}")


@main.command()
@click.argument("filter_", metavar="NAME[:key=value,...]")
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="Labelled rows that the filter was not made from.",
)
@click.option(
    "--target-precision",
    type=Number(0, 1, min_open=True, max_open=True),
    required=True,
    help="To be promised.",
)
@click.option(
    "--confidence",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Of the promise.",
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
    help="Column that draws of one seed share.",
)
@output_option("The filter with its threshold (.json), for --filter.", "FILE")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A reliability diagram (.svg).",
)
def calibrate(
    filter_: str, source: str, output: Path, plot: Path | None, **options: Any
) -> None:
    """Find the threshold of a critic whose precision can be promised, or say how many labels are
    missing.
    """
    from synth.pipeline.filter_file import calibrate_file  # noqa: PLC0415

    say(calibrate_file(filter_, source, output, plot, **options))


@main.command()
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    help="An evaluation: question, choices (a list), target (the right one).",
)
@click.option(
    "--teacher",
    required=True,
    metavar="T",
    help="Who may have seen it.",
)
@output_option("A run folder; the same again resumes.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N items.")
@click.option(
    "--api-base", metavar="URL", help="Another OpenAI-compatible endpoint."
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help="The environment variable that holds the key; OPENAI_API_KEY unless said.",
)
@click.option(
    "--budget",
    type=Number(min=0),
    metavar="USD",
    help="Dollars at most.",
)
@click.pass_context
def probe(ctx: click.Context, /, source: str, **options: Any) -> None:
    """Ask whether a teacher knows an evaluation by heart: turned and hidden options, halves of
    questions.
    """
    from synth.tools.teacher_probe import run as run_probe  # noqa: PLC0415

    figures = run_probe(source, **options)
    for kind in ("asked", "turned", "hidden", "continued"):
        say(
            f"{kind}: {figures[kind]['hits']:,} of {figures[kind]['asked']:,} "
            f"({figures[kind]['share']:.3f})"
        )
    gap = figures["gap"]
    say(
        f"right as printed minus right when turned: {gap['share']:.3f} (95 %: {gap['low']:.3f} "
        f"to {gap['high']:.3f})"
    )
    for alarm in figures["alarms"]:
        say(
            f"alarm: it {alarm}; say --taint NAME in runs with this teacher",
            err=True,
        )
    if figures["stopped"]:
        say(
            f"synth: stopped: {figures['stopped']}. The figures are of what came; the same command "
            "resumes.",
            err=True,
        )
    ctx.exit(figures["exit_code"])


COMMANDS = {
    "Prompt packs": (show, check, init, tune),
    "Parts": (list_, context),
    "Runs": (plan, run, merge, journal, slurm),
    "Looking at runs": (view, report, rows, why, diff),
    "Rows": (seeds, export, card, push, filter_, mine, pair_up),
    "Critics and teachers": (calibrate, probe),
    "Knowledge": (lexicon, taxonomy),
}
for _title, _commands in COMMANDS.items():
    main.add_section(_title, _commands)
