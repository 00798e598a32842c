"""The command `tune`: better prompts for a pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from synth.cli.command_group import output_option, say
from synth.cli.numbers import Number
from synth.cli.shared import run_options, with_teacher

if TYPE_CHECKING:
    from synth.tools.candidates import Candidate, Tuned


@click.command()
@click.argument("pack")
@run_options
@output_option("The search's folder; the same command goes on in it.", "DIR")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Rewritings that are tried.",
)
@click.option(
    "--held-out",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of the rows that nobody looks at until the end.",
)
@click.option(
    "--shown",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Lost rows that the editor sees at a time.",
)
@click.option(
    "--step",
    help="The step whose templates are rewritten; else the one that loses most rows.",
)
@click.option(
    "--budget",
    type=Number(min=0),
    metavar="USD",
    help="Dollars at most, for all runs of the search.",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write the best templates into PACK, where they keep more of the rows held out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end.")
def tune(
    pack: str,
    source: Any,
    output: Path,
    *,
    rounds: int,
    held_out: float,
    shown: int,
    step: str | None,
    budget: float | None,
    write: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Look for better words for PACK's templates: a model rewrites them after rows they lost.

    The pack's own filters judge: with golds, `answer_match`; else a critic of the pack. The teacher
    rewrites, or the model of `--teacher editor=T`. PACK stays as it is without --write.
    """
    from synth.processes.interrupts import raised  # noqa: PLC0415
    from synth.tools.candidates import Candidate  # noqa: PLC0415
    from synth.tools.tuning import (  # noqa: PLC0415
        Tuner,
        check_writable,
        write_back,
    )

    if write:
        check_writable(pack)
    options = with_teacher(pack, options)
    teachers = options.pop("teachers")
    search = Tuner(
        pack,
        output,
        teachers,
        rounds=rounds,
        held_out=held_out,
        shown=shown,
        step=step,
        budget=budget,
        options=options,
    )
    with raised():
        for told in search.run(source):
            if isinstance(told, Candidate):
                say(_line(told), err=True)
            else:
                tuned = told
    say(
        orjson.dumps(tuned.report(), option=orjson.OPT_INDENT_2).decode()
        if as_json
        else _summary(tuned)
    )
    if write and tuned.gain > 0:
        for name in write_back(tuned, pack):
            say(f"{name} -> {pack}", err=True)


def _line(one: Candidate) -> str:
    """One candidate, for people."""
    what = (
        "the pack as it is" if not one.number else f"{one.file} of {one.parent}"
    )
    score = one.fault or f"{one.score:.3f} kept"
    return f"{one.number:3}  {what}: {score}"


def _summary(tuned: Tuned) -> str:
    """What was gained, for people."""
    from synth.core.money import dollars  # noqa: PLC0415

    looked_at, held_out = tuned.rows
    cost = dollars(tuned.usd)
    if not tuned.best.number:
        return (
            f"no rewriting keeps more of the {looked_at} rows that were looked at; "
            f"{cost}"
        )
    low, high = tuned.interval
    return (
        f"of {held_out} rows held out: {tuned.before:.3f} kept before, {tuned.after:.3f} with "
        f"number {tuned.best.number}; gain {tuned.gain:+.3f} [{low:+.3f}, {high:+.3f}]; "
        f"{cost}\npack -> {tuned.best.folder}"
    )
