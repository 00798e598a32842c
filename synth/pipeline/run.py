"""`synth.run`: opens what a run needs, sends the seeds down the line, publishes what came of
them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path
from typing import Any, Unpack

from synth.calls.borrower import Facts
from synth.calls.door import Doors, Stats
from synth.calls.fault_log import FaultLog
from synth.calls.journal import Journal
from synth.calls.spans import Spans, tracing
from synth.core.aio import run_async
from synth.core.errors import (
    NothingKept,
    PotstillError,
    RowFault,
    TeacherError,
    WrongUse,
    did_you_mean,
)
from synth.core.records import Exit, Fields, Request, Row
from synth.critics.calibration import promises_of
from synth.critics.canaries import try_critics
from synth.filters.base import Filter
from synth.inputs.parts import POSITION
from synth.inputs.seeds import Scan
from synth.packs import files as pack_files
from synth.packs.pack import Pack
from synth.packs.templates import Template
from synth.pipeline.growth import Growth
from synth.pipeline.in_flight import InFlight
from synth.pipeline.notes import terms_told
from synth.pipeline.open_doors import (
    adapted_of,
    endpoints_of,
    open_doors,
    width,
)
from synth.pipeline.options import PlanOptions, RunOptions, with_options
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import Prepared, RunConfig, given_or_made
from synth.pipeline.progress import watched
from synth.pipeline.python_words import speaks_python
from synth.pipeline.shards import prepare_run, write_plan
from synth.pipeline.tracking import tracked
from synth.pipeline.walker import Tally, Walker
from synth.pipeline.window import Window
from synth.pipeline.yield_watch import YieldWatch
from synth.processes.interrupts import Ending, Interrupted, ending
from synth.runs.card import make_card
from synth.runs.columns import Columns, merged
from synth.runs.ownership import FORMAT, make_folder, note, read_run
from synth.runs.publisher import Publisher
from synth.runs.result import EXIT_FAILED, Run
from synth.runs.shard_plan import ShardPlan
from synth.runs.store_copy import places_of
from synth.teachers.wire.http_client import MAY_SEND

EXIT_INTERRUPTED = 130


@with_options
@speaks_python
def run(
    pack: str | Path,
    seeds: str | Path | Iterable[Row] | None = None,
    *,
    teacher: str | Mapping[str, str],
    output: str | Path,
    journal: str | Path | None = None,
    progress: bool | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Makes a dataset: every seed through every step of a pack. The same call again resumes;
    finished, it asks nothing.

    Args:
        pack: a built-in name or a folder.
        seeds: path, `-`, dataset name, or rows; None for those that the pack makes.
        teacher: PROVIDER/MODEL, or role -> PROVIDER/MODEL.
        output: the run's folder; with `shard`, the folder of all shards. Or the URL of a folder in
            a store (`s3://bucket/folder`), into which the published files are copied.
        journal: with a URL as output, the run's folder on this machine.
        progress: whether the run is shown while it goes on; None where somebody looks, on a
            terminal or in a notebook.
        **options: the fields of RunConfig.

    Raises:
        WrongUse: before any call, with where, what was found, what was wanted and what to do.

    Example:
        >>> import synth, tempfile
        >>> rows = [{"question": "What is 8 + 5 ?", "target": "13"}]
        >>> run = synth.run("cot", rows, teacher="simulated/perfect", output=tempfile.mkdtemp())
        >>> run.counts
        {'asked': 1, 'kept': 1, 'dropped': {}, 'failed': {}}
    """
    return make(
        pack,
        seeds,
        teacher=teacher,
        output=output,
        journal=journal,
        progress=progress,
        **options,
    )


def make(
    pack: str | Path,
    seeds: str | Path | Iterable[Row] | None,
    *,
    teacher: str | Mapping[str, str],
    output: str | Path,
    journal: str | Path | None = None,
    progress: bool | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """What `run` does, for commands: errors name flags."""
    config = _config(teacher, options, "synth.run")
    seeds = given_or_made(seeds, pack, config)
    folder, copy = places_of(
        output, journal, pack, seeds, replace=config.replace
    )
    prepared = prepare_run(pack, seeds, folder, config)
    with watched(prepared, progress), tracked(prepared):
        done = start(prepared)
    # A shard is sent with the others, once they are joined.
    if copy and config.shard is None:
        copy.send()
    return done


@with_options
@speaks_python
def plan_shards(
    pack: str | Path,
    seeds: str | Path | Iterable[Row],
    *,
    teacher: str | Mapping[str, str],
    output: str | Path,
    shards: int,
    **options: Unpack[PlanOptions],
) -> ShardPlan:
    """Plans a run in shards, each of which `run(..., shard=K)` makes anywhere, and `merge` joins.

    Args:
        pack: as `run` takes it.
        seeds: as `run` takes them; each stands in the shard that the hash of its id names.
        teacher: as `run` takes it.
        output: the folder of all shards.
        shards: how many.
        **options: the fields of RunConfig, the same for every shard.

    Raises:
        WrongUse: as `run`.
    """
    said = {**options, "shards": shards}
    config = _config(teacher, said, "synth.plan_shards")
    return write_plan(pack, seeds, Path(output), config)


def _config(
    teacher: str | Mapping[str, str], options: Mapping[str, Any], where: str
) -> RunConfig:
    """The settings of a run.

    Raises:
        WrongUse: an option that is none.
    """
    teachers = (
        {"teacher": teacher} if isinstance(teacher, str) else dict(teacher)
    )
    known = {field.name for field in fields(RunConfig)}
    known -= {"teachers"}
    for name in options:
        if name not in known:
            raise WrongUse(
                where,
                f"argument {name!r}",
                "a field of RunConfig",
                did_you_mean(name, known),
            )
    return RunConfig(teachers=teachers, **options)


def start(prepared: Prepared, *, leaves: bool = False) -> Run:
    """Asks, filters, publishes; with a target, draws more from the same seeds until it is met or
    --max-draws is.

    Args:
        prepared: the run.
        leaves: whether a second Ctrl-C may end the process itself, where it does not end by itself
            within a second.

    Raises:
        Interrupted: before the first seed was walked, or for the second time; the same call
            resumes.
    """
    if prepared.unchanged:
        return as_it_stands(prepared.output)
    done = _live(prepared, leaves=leaves)
    target = prepared.config.target
    config = prepared.config
    while (
        target
        and done.exit_code in (0, EXIT_FAILED)
        and done.counts["kept"] < target
    ):
        draws = more_draws(prepared.pack, config, done.counts["kept"])
        if draws is None:
            return missed(done, target, prepared.pack)
        prepared = prepared.with_draws(draws)
        done = _live(prepared, leaves=leaves)
    return done


def more_draws(pack: Pack, config: RunConfig, kept: int) -> int | None:
    """Completions a sample with which the target should be met, where so many rows were kept; None
    where the most were drawn.
    """
    draws = max(step.draws for step in pack.steps)
    # With more draws a pool would grow otherwise, and all later rows would be asked anew.
    if draws >= config.max_draws or pack.pools:
        return None
    target = config.target or 0
    times = 1.1 * target / max(1, kept)
    more = max(draws + 1, ceil(draws * times))
    return min(
        more,
        config.max_draws,
        4 * draws,
    )


def missed(done: Run, target: int, pack: Pack) -> Run:
    """A run that kept fewer rows than its target."""
    draws = max(step.draws for step in pack.steps)
    kept = done.counts["kept"]
    said = f"{kept:,} of {target:,} rows with {draws} draws a sample"
    return Run(done.folder, EXIT_FAILED, said, done.info)


def as_it_stands(folder: Path) -> Run:
    """A finished run; what it asked serves again."""
    info = read_run(folder)
    calls = info["calls"]
    reused = calls["asked"] + calls["reused"]
    info["calls"] = {"asked": 0, "reused": reused, "retried": 0}
    return Run(folder, 0, None, info)


def columns_of(pack: Pack, scan: Scan, rename: Mapping[str, str]) -> Columns:
    """The columns of a run's rows.

    Args:
        pack: its pack.
        scan: what the seeds hold.
        rename: input columns -> their names in the pack.
    """
    rendered = bool(_training_templates(pack))
    return Columns(scan, rename, _produced(pack), rendered=rendered)


def corpus_filters(pack: Pack) -> list[Filter]:
    """Filters of a pack that see all rows."""
    filters = pack.steps[-1].filters
    return [part for part in filters if part.group == "corpus"]


def _training_templates(pack: Pack) -> Mapping[str, Template]:
    """Those that write `prompt` and `completion`."""
    return dict(pack.exports.get("sft", {}).get("sft", {}))


def _produced(pack: Pack) -> Fields:
    """Fields of the steps with their kinds, and the lists that exports read besides."""
    made = merged(
        field for step in pack.steps for field in step.produces().items()
    )
    return {**made, **dict.fromkeys(pack.exported_lists, "list")}


def _live(prepared: Prepared, *, leaves: bool) -> Run:
    live = _Live(prepared)
    try:
        return run_async(live.go(leaves=leaves))
    except (asyncio.CancelledError, KeyboardInterrupt) as error:
        raise Interrupted(live.ended_by) from error


class _Live:
    """One run in progress."""

    def __init__(self, prepared: Prepared) -> None:
        self.p = prepared
        self.config = prepared.config
        self.pack = prepared.pack
        self.tally = Tally()
        self.faults = FaultLog(prepared.output / "journal")
        self.stats = Stats(on_fault=self._failed)
        self.started = time.time()
        self.ended_by = int(signal.SIGINT)
        self._fault: PotstillError | None = None
        self._stop: Callable[[PotstillError], None] = lambda _: None
        self._watch = YieldWatch(
            stops=not (self.config.keep_going or self.pack.spec.low_yield)
        )
        self._templates = _training_templates(self.pack)

    def _failed(self, request: Request, error: TeacherError) -> None:
        """A call brought no reply."""
        self.faults.add(error)
        if self.p.on_fault:
            self.p.on_fault(request, error)

    async def go(self, *, leaves: bool) -> Run:
        """The whole life of a run; a signal, or who cancels it, ends it in order."""
        with ending(asyncio.current_task(), leaves=leaves) as signals:
            try:
                name, output = self.pack.name, str(self.p.output)
                wanted = self.config.trace
                with tracing(name, output, is_wanted=wanted) as spans:
                    return await self._go(signals, spans)
            finally:
                self.ended_by = signals.first

    async def _go(self, signals: Ending, spans: Spans | None) -> Run:
        self._plan = make_plan(self.p)
        make_folder(self.p.output)
        doors = await open_doors(self.p, self.stats, spans)
        borrower = self.p.borrower
        try:
            if borrower is None:
                return await self._through(doors, signals)
            MAY_SEND.set(borrower.check)
            async with borrower.lending(self._facts, self._end):
                return await self._through(doors, signals)
        finally:
            self.faults.flush()
            await doors.close()

    async def _through(self, doors: Doors, signals: Ending) -> Run:
        """From open doors to published rows."""
        # The pack as it was, so that exports stay possible when it has moved on.
        pack_files.copy(self.pack.folder, self.p.output / "pack")
        self._teachers = [door.teacher for door in doors.doors.values()]
        endpoints = endpoints_of(self._teachers)
        seeds = self.p.seeds
        note(
            self.p.output,
            self.pack.spec.name,
            seeds.where,
            seeds,
            endpoints,
        )
        columns = columns_of(
            self.pack,
            self.p.scan,
            seeds.rename,
        )
        self.publisher = Publisher(self.p.output, columns)
        walker = Walker(
            self.pack,
            doors,
            self.config.taint,
            self.p.library,
        )
        window = Window(
            walker.walk,
            self._leave,
            width=width(self.config),
        )
        window.on_stop = doors.hurry
        self._stop = window.end
        in_flight = InFlight(
            self.tally,
            self.stats,
            plan=self._plan,
            budget=doors.budget,
            target=self.config.target,
            borrower=self.p.borrower,
        )
        if in_flight.is_bounded():
            window.wanted = in_flight.most
        self._growth = Growth(
            walker.library,
            self.p.scan.rows,
            keeps_going=self.config.keep_going,
        )
        window.paces = walker.library.paces
        if self._fault is not None:
            window.end(self._fault)
        self._canaries = await try_critics(
            self.pack.filters(),
            doors,
            self.p.critic_rows,
        )
        await self._walk(window, signals)
        await doors.keep_all()
        if self._fault is not None:
            raise self._fault  # what is published now is another process's
        return self._finish(window, doors.journal)

    async def _walk(self, window: Window, signals: Ending) -> None:
        """First Ctrl-C: ask no more, let what is in flight come in. Second: stop now."""
        walking = asyncio.create_task(window.run(self.p.seeds))
        try:
            await asyncio.shield(walking)
        except asyncio.CancelledError:
            signals.task.uncancel()
            window.end(Interrupted(signals.first))
            await walking

    def _facts(self) -> Facts:
        """What a shard says of itself."""
        shown = self.tally, self.stats.shown()
        return Facts(self.tally.kept, shown)

    def _end(self, reason: PotstillError) -> None:
        """Ends the run before its time, whether or not seeds are walked yet."""
        self._fault = reason
        self._stop(reason)

    def _leave(self, asked: int, exits: list[Exit]) -> None:
        """Takes the exits of one seed, in input order; once a target is met, later seeds count as
        never asked.
        """
        target = self.config.target
        if target is not None and self.tally.kept >= target:
            return
        self.tally.seeds += 1
        self.tally.asked += asked
        for exit_ in exits:
            if (
                target is not None
                and exit_.kind == "kept"
                and self.tally.kept >= target
            ):
                # The same draw, another way out.
                exit_ = Exit("dropped", exit_.sample, "over_target")  # noqa: PLW2901
            exit_, rendered = self._render(exit_)  # noqa: PLW2901 - as above
            exit_ = self._growth.offer(exit_)  # noqa: PLW2901 - as above
            row = exit_.sample.row()
            row.update(rendered)
            if (place := exit_.sample.seed.place) is not None:
                row[POSITION] = place
            self.publisher.add(exit_, row)
            self.tally.count(exit_)
            if self.p.on_exit:
                self.p.on_exit(exit_)
        if self.p.on_row:
            self.p.on_row(self.tally, self.stats)
        if (fault := self._watch.book(exits)) is not None:
            self._stop(fault)
        if (gap := self._growth.left(self.tally)) is not None:
            self._stop(gap)

    def _render(self, exit_: Exit) -> tuple[Exit, dict[str, str]]:
        """The training columns of a row that has every field they need; a kept row over which they
        do not render is dropped.
        """
        sample = exit_.sample
        if not self._templates or not self._needed <= sample.fields.keys():
            return exit_, {}
        values = self.pack.values(sample.fields)
        try:
            return exit_, {
                side: template.render(values)
                for side, template in self._templates.items()
            }
        except RowFault as error:
            return (
                Exit("dropped", sample, "unrenderable", str(error)[:300])
                if exit_.kind == "kept"
                else exit_
            ), {}

    @cached_property
    def _needed(self) -> set[str]:
        used = {
            variable
            for template in self._templates.values()
            for variable in template.variables
        }
        return used & _produced(self.pack).keys()

    def _settle(self) -> None:
        """Filters that see all rows judge those that are kept so far, in a shard only when all are
        joined; what leaves only now is booked.
        """
        whole = self.config.shard is None
        left = self.publisher.settle(corpus_filters(self.pack) if whole else ())
        self.tally.kept -= left.total()
        self.tally.dropped.update(left)

    def _finish(self, window: Window, journal: Journal) -> Run:
        self._settle()
        if not self.tally.balanced():
            raise PotstillError(
                f"the tally does not balance: {self.tally.counts()}"
            )
        code = EXIT_FAILED if self.tally.failed else 0
        if self.tally.asked and not self.tally.kept:
            code = NothingKept.exit_code
        if window.stop:
            code = getattr(window.stop, "exit_code", EXIT_INTERRUPTED)
        info = self._info(journal, window.stop)
        self.publisher.publish(info, partial(make_card, info))
        return Run(self.p.output, code, info["stopped"], info)

    def _walked_all(self) -> bool:
        """Whether no seed is left, of a shard that others may have kept from going on."""
        if self.config.shard is None:
            return True
        return self.tally.seeds == self.p.scan.rows

    def _info(self, journal: Journal, stop: Any) -> Fields:
        """What run.json holds: settings, counts by exit, calls, tokens and dollars."""
        spec = self.pack.spec
        totals = journal.totals
        config = self.config
        values = config.values
        overrides = values.pop("overrides")
        priced = all(
            self.p.price(role) is not None for role in self.p.teachers()
        )
        return {
            "format": FORMAT,
            "pack": {
                "name": spec.name,
                "version": spec.version,
                "hash": self.pack.hash,
                "about": spec.about,
                "paper": spec.paper,
            },
            "versions": {
                "potstill": _version("potstill"),
                "python": sys.version.partition(" ")[0],
            },
            "settings": {
                "input": self.p.seeds.where,
                "rows": self.p.scan.rows,
                "set": dict(overrides),
                **values,
            },
            "fingerprint": self.p.mark,
            "part": self.p.part,
            "complete": stop is None and self._walked_all(),
            "stopped": str(stop) if stop else None,
            "nothing_kept": self._watch.why()
            if self.tally.asked and not self.tally.kept and not stop
            else None,
            "counts": self.tally.counts(),
            "judged": self.tally.judged(),
            "calls": {
                "asked": self.stats.asked,
                "reused": self.stats.reused,
                "retried": self.stats.retried,
            },
            "cost": {
                "usd": round(totals.usd, 6) if priced else None,
                "prompt_tokens": totals.prompt_tokens,
                "completion_tokens": totals.completion_tokens,
                "cached_tokens": totals.cached_tokens,
                "reasoning_tokens": totals.reasoning_tokens,
            },
            "seeds": self.tally.seeds,
            "steps": {
                name: {
                    "calls": calls,
                    "prompt_tokens": sent,
                    "completion_tokens": completion_tokens,
                }
                for name, (calls, sent, completion_tokens) in sorted(
                    self.stats.steps.items()
                )
            },
            "plan": self._plan.summary(),
            "promises": dict(promises_of(self.pack.filters())),
            "canaries": self._canaries,
            "terms": terms_told(self.p),
            "adapted": adapted_of(self._teachers),
            "seconds": round(time.time() - self.started, 3),
        }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
