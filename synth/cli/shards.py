"""Commands about runs in shards."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli.command_group import say, together
from synth.cli.numbers import Number
from synth.cli.shared import plugin_option

if TYPE_CHECKING:
    from synth.core.records import Fields
    from synth.pipeline.on_ray import Cluster
    from synth.pipeline.prepare import RunConfig
    from synth.runs.result import Run


def shard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How many shards `synth run` plans, or which one it runs."""
    return together(
        click.option(
            "--shards",
            type=click.IntRange(1),
            metavar="N",
            help="Plan the run in N shards, which other processes or machines run; asks nobody "
            "yet.",
        ),
        click.option(
            "--shard",
            type=click.IntRange(0),
            metavar="K",
            help="Run one planned shard, counted from 0, into DIR/shards; `synth merge DIR` joins "
            "them.",
        ),
        click.option(
            "--on",
            type=click.Choice(["ray"]),
            help="Run all shards on a Ray cluster and join them; --shards says how many.",
        ),
        click.option(
            "--ray-address",
            metavar="ADDRESS",
            help="The cluster, for --on ray; RAY_ADDRESS unless said, else one of its own here.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            metavar="N",
            help="Shards at a time, for --on ray; as many as there are CPUs unless said.",
        ),
        click.option(
            "--num-gpus",
            type=Number(0),
            default=0.0,
            metavar="N",
            help="GPUs of each shard, for --on ray, where teachers or filters need them.",
        ),
    )(command)


def plan_run(pack: str, source: Any, output: Path, config: RunConfig) -> None:
    """Plans the shards of `synth run` and says what to do with them."""
    from synth.pipeline.shards import write_plan  # noqa: PLC0415

    words = command_words(sys.argv[1:])
    plan = write_plan(pack, source, output, config, words)
    rows = plan.rows
    say(
        f"{sum(rows):,} seeds in {plan.shards:,} shards ({min(rows):,} to {max(rows):,} each) -> "
        f"{output}/shards"
    )
    say(
        f"next: the same command with --shard K for K = 0 to {plan.shards - 1}, anywhere and in "
        f"any order; then synth merge {output}"
    )


def cluster_of(options: Fields) -> Cluster | None:
    """Takes the options of a cluster out of those of a run; None where it runs here.

    Raises:
        UsageError: they name a cluster and one shard, or are given without --on.
    """
    on = options.pop("on")
    named = [
        options.pop("ray_address"),
        options.pop("workers"),
        options.pop("num_gpus"),
    ]
    if on is None:
        if named != [None, None, 0.0]:
            raise click.UsageError(
                "--ray-address, --workers and --num-gpus need --on ray."
            )
        return None
    if options["shard"] is not None:
        raise click.UsageError("--on ray and --shard: give one of them.")
    from synth.pipeline.on_ray import Cluster  # noqa: PLC0415

    return Cluster(*named)


def tell(ctx: click.Context, done: Run, following: str) -> None:
    """Says what a run came to and what may come next, and leaves with its code."""
    from synth.pipeline.preview import tally  # noqa: PLC0415

    say(tally(done.info))
    say(following)
    if done.stopped:
        say(
            f"synth: stopped: {done.stopped}. Everything so far is kept; the same command resumes.",
            err=True,
        )
    elif done.info["nothing_kept"]:
        say(f"synth: {done.info['nothing_kept']}", err=True)
    ctx.exit(done.exit_code)


def what_next(done: Run, shard: int | None, output: Path) -> str:
    """What comes behind a run, or behind one shard of it."""
    from synth.pipeline.preview import next_command  # noqa: PLC0415

    if shard is None or not done.info["complete"]:
        return next_command(done.folder, done.info)
    folder = shlex.quote(str(output))
    return f"shard {shard} is done; when all are: synth merge {folder}"


def command_words(words: list[str]) -> list[str]:
    """The words of a command line without those that name shards, and without what a URL of an
    input says behind `?`, which may be a key: no shard reads the input again.

    >>> command_words(["run", "cot", "--shards", "4", "--limit", "9", "--shard=1"])
    ['run', 'cot', '--limit', '9']
    """
    from synth.inputs.files import shown  # noqa: PLC0415

    kept = []
    rest = iter(words)
    for word in rest:
        if word in ("--shards", "--shard"):
            next(rest, None)
        elif word == "--input":
            kept += [word, *map(shown, islice(rest, 1))]
        elif word.startswith("--input="):
            kept.append(f"--input={shown(word.removeprefix('--input='))}")
        elif not word.startswith(("--shards=", "--shard=")):
            kept.append(word)
    return kept


@click.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--partial",
    "partial_",
    is_flag=True,
    help="Take what is there, although shards are missing or unfinished.",
)
@click.option(
    "--output",
    metavar="URL_OR_DIR",
    help="Copy the dataset into another folder too, such as s3://bucket/run.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Replace what another run has sent to --output.",
)
@plugin_option
@click.pass_context
def merge(
    ctx: click.Context,
    /,
    folder: str,
    *,
    partial_: bool,
    output: str | None,
    replace: bool,
    plugins: tuple[str, ...],
) -> None:
    """Join the shards of a run into one dataset in DIR."""
    from synth.inputs.files import shown  # noqa: PLC0415
    from synth.pipeline.merge import merge as join  # noqa: PLC0415
    from synth.pipeline.preview import next_command, tally  # noqa: PLC0415

    if replace and output is None:
        raise click.UsageError(
            "--replace is for what stands at --output: name that too."
        )
    done = join(
        folder,
        partial_=partial_,
        plugins=plugins,
        output=output,
        replace=replace,
    )
    say(tally(done.info))
    if output:
        say(f"copied -> {shown(output)}")
    say(next_command(done.folder, done.info))
    if done.stopped:
        say(f"synth: {done.stopped}: their rows are missing.", err=True)
    ctx.exit(done.exit_code)


@click.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Shards that run at a time.",
)
@click.option(
    "--time",
    "hours",
    default="24:00:00",
    show_default=True,
    metavar="HH:MM:SS",
    help="Limit of one shard; a shard that it ends goes on when it is submitted again.",
)
@click.option(
    "--sbatch",
    "more",
    multiple=True,
    metavar="OPTION",
    help="Another option of sbatch, for example --sbatch=--partition=cpu.",
)
def slurm(
    folder: str, parallel: int, hours: str, more: tuple[str, ...]
) -> None:
    """Print a Slurm script that runs the shards of DIR, one task of an array each."""
    from synth.runs.shard_plan import ShardPlan  # noqa: PLC0415
    from synth.tools.slurm_script import slurm_script  # noqa: PLC0415

    plan = ShardPlan.read(Path(folder))
    options = [f"--time={hours}", *more]
    say(slurm_script(plan, Path(folder), parallel, options))
