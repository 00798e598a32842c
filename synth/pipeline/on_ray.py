"""A run in shards on a Ray cluster: one task a shard, one actor for the bank of all, and the merge.

This is the one place that knows Ray. A task whose process dies is started again; one that is silent
for minutes is started a second time, and the bank and the shard's folder shut the first one out.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synth.calls.bank import Bank, State
from synth.calls.door import Stats
from synth.calls.lending import Lease, Report
from synth.core.errors import PotstillError, Stopped, WrongUse
from synth.core.optional import optional
from synth.inputs.seeds import Seeds
from synth.pipeline.finished import fingerprint, is_unchanged
from synth.pipeline.lent_shard import Job, Outcome, run_shard
from synth.pipeline.merge import Terms, join, kept_rows
from synth.pipeline.prepare import (
    Prepared,
    RunConfig,
    load_pack,
    pack_of_run,
)
from synth.pipeline.progress import Watch
from synth.pipeline.run import (
    as_it_stands,
    missed,
    more_draws,
)
from synth.pipeline.shards import write_plan
from synth.pipeline.tracking import tracked
from synth.pipeline.walker import Tally
from synth.processes.interrupts import Interrupted, Raised, raised
from synth.runs.ownership import read_run
from synth.runs.result import Run
from synth.runs.shard_plan import ShardPlan, is_planned, shard_folder
from synth.runs.trackers import check_trackers

# Shards of a run that says no number: enough for a laptop, and small ones end soon.
SHARDS = 16
# Deaths of processes of one shard, beyond which it is the shard that kills them.
MOST_DEATHS = 20
# Seconds between two looks at the tasks, and for which the bank may be away.
LOOK, BANK_SECONDS = 0.5, 60.0
# Exit codes beyond it are those of signals.
SIGNALLED = 128
# Seconds that tasks have to end in order after Ctrl-C.
ENDING_SECONDS = 30.0


@dataclass(frozen=True)
class Cluster:
    """Where shards run.

    Attributes:
        address: of a Ray cluster, `auto`, or None: RAY_ADDRESS, else a Ray of this command's own.
        workers: shards at a time; None for as many as the cluster has CPUs.
        gpus: GPUs of each, or a part of one.
        lost_after: seconds of silence after which a shard is started a second time.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0
    lost_after: float = 120.0


def run_on_ray(
    pack: str,
    source: Any,
    output: Path,
    config: RunConfig,
    *,
    cluster: Cluster,
    watch: Watch,
) -> Run:
    """Plans the shards, runs them, joins them. The same call again goes on, whatever died.

    Args:
        pack: a built-in name or a folder.
        source: the input, as `run` takes it.
        output: the folder of the run, which every machine of the cluster sees.
        config: its settings; `shards` says how many, else as many as are planned, or 16.
        cluster: where.
        watch: shows the whole as it goes.

    Raises:
        WrongUse: Ray is not installed; as `run`.
        Stopped: the cluster or a shard ended the run.
    """
    # Ray would send statistics of its use to its makers, and print what became of tasks whose
    # shards others run by now.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"
    ray = optional("ray", "ray", "--on ray")
    check_trackers(config.report_to)
    config = replace(config, shards=_shards_of(output, config))
    loaded = load_pack(pack_of_run(pack, output, config)[0], config)
    mark = fingerprint(loaded, source, config.values)
    if is_unchanged(output, mark):
        return as_it_stands(output)
    plan = write_plan(pack, source, output, config, together=True)
    whole = Prepared(
        loaded,
        Seeds(source),
        plan.scan(sum(plan.rows)),
        output,
        config,
    )
    joined = _joined(ray, cluster)
    with joined, raised() as signals, watch(whole), tracked(whole):
        while True:
            stop = _Round(ray, pack, plan, whole, cluster).run(signals)
            more = None if stop else _next_draws(whole, plan)
            if more is None:
                break
            whole = more
            plan = write_plan(pack, source, output, whole.config, together=True)
    return _merged(whole, mark, stop)


def _shards_of(output: Path, config: RunConfig) -> int:
    if config.shards is not None:
        return config.shards
    return ShardPlan.read(output).shards if is_planned(output) else SHARDS


def _next_draws(whole: Prepared, plan: ShardPlan) -> Prepared | None:
    """The run as it goes on where a target is not met yet: shards that stopped too early once more,
    else more draws; None where it is met or nothing helps.
    """
    target = whole.config.target
    if target is None:
        return None
    kept = kept_rows(whole.output)
    if kept >= target:
        return None
    if not all(_is_complete(whole.output, n) for n in _numbers(plan)):
        return whole
    draws = more_draws(whole.pack, whole.config, kept)
    return None if draws is None else whole.with_draws(draws)


def _any_rows(output: Path) -> bool:
    numbers = range(ShardPlan.read(output).shards)
    return any(read_run(shard_folder(output, n)) for n in numbers)


def _is_complete(output: Path, shard: int) -> bool:
    return bool(read_run(shard_folder(output, shard)).get("complete"))


def _numbers(plan: ShardPlan) -> list[int]:
    """Shards that have a seed."""
    return [n for n, rows in enumerate(plan.rows) if rows]


def _merged(whole: Prepared, mark: str | None, stop: Outcome | None) -> Run:
    """The whole run as it is now; the mark of a target's first draws is that of the command."""
    target = whole.config.target
    if stop is not None and not _any_rows(whole.output):
        if stop.exit_code > SIGNALLED:
            raise Interrupted(stop.exit_code - SIGNALLED)
        raise Stopped("shards", f"{stop.stopped}; nothing is published yet")
    terms = Terms(
        partial_=stop is not None,
        plugins=whole.config.plugins,
        target=target,
        mark=None if stop else mark,
    )
    done = join(whole.output, terms)
    if stop is not None:
        return Run(done.folder, stop.exit_code, stop.stopped, done.info)
    if target is not None and done.counts["kept"] < target:
        return missed(done, target, whole.pack)
    return done


def _gone(what: str, error: Exception) -> Stopped:
    """The end of a run whose processes Ray has lost."""
    said = str(error).strip().splitlines()[:1]
    return Stopped(
        "ray",
        f"{what} is gone: {''.join(said)[:300]}; the same command goes on",
    )


@contextlib.contextmanager
def _joined(ray: Any, cluster: Cluster) -> Iterator[None]:
    """A cluster while this lasts: the one that is named, or one of this command's own.

    Raises:
        WrongUse: nothing answers at the address.
        Stopped: Ray does not begin on this machine.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _join(ray, cluster)
        yield
    finally:
        ray.shutdown()


def _join(ray: Any, cluster: Cluster) -> None:
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            # Twice as many as there are workers, for those that take the place of lost ones.
            slots = 2 * (cluster.workers or os.cpu_count() or 1)
            ray.init("local", num_cpus=slots, include_dashboard=False, **quiet)
    # Ray raises what it likes, plain `Exception` where its processes take too long to begin.
    except Exception as error:
        said = "".join(str(error).strip().splitlines()[:1])[:300]
        if not address:
            raise Stopped(
                "ray",
                f"Ray did not begin on this machine: {said}; the same command goes on",
            ) from error
        raise WrongUse(
            "--ray-address",
            f"{address}, where no cluster answers ({said})",
            "the address of a Ray cluster",
            "Start one with `ray start --head`, or leave the option and RAY_ADDRESS out.",
        ) from error


def _task(job: Job, bank: Any) -> Outcome:
    """What a worker of the cluster does."""
    ray = optional("ray", "ray", "--on ray")

    def begin(shard: int) -> tuple[int, float]:
        number, wait = ray.get(bank.begin.remote(shard))
        return number, wait

    async def renew(report: Report) -> Lease:
        try:
            lease: Lease = await bank.renew.remote(report)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        return lease

    return run_shard(job, begin, renew)


@dataclass
class _Tasks:
    """Tasks by what becomes of them.

    Attributes:
        waiting: shards that have none.
        running: task -> its shard.
        ghosts: tasks whose shards are run by others by now.
        replaced: (shard, owner) of those.
        deaths: processes that died, by shard.
    """

    waiting: list[int]
    running: dict[Any, int] = field(default_factory=dict)
    ghosts: list[Any] = field(default_factory=list)
    replaced: set[tuple[int, int]] = field(default_factory=set)
    deaths: Counter[int] = field(default_factory=Counter)


class _Round:
    """All shards of a plan, once."""

    def __init__(
        self,
        ray: Any,
        pack: str,
        plan: ShardPlan,
        whole: Prepared,
        cluster: Cluster,
    ) -> None:
        self.ray = ray
        self.whole = whole
        self.cluster = cluster
        config = replace(whole.config, target=None)
        self.job = Job(pack, whole.output.absolute(), config, str(Path.cwd()))
        self.tasks = _Tasks(_numbers(plan))
        self.stop: Outcome | None = None
        self.work = ray.remote(
            num_cpus=1,
            num_gpus=cluster.gpus,
            max_retries=0,
        )(_task)
        self.bank = self._open_bank(plan)

    def _open_bank(self, plan: ShardPlan) -> Any:
        """The actor that carries the bank; it comes back as often as it dies."""
        config = self.whole.config
        output = self.job.output
        journals = {
            n: shard_folder(output, n) / "journal" for n in _numbers(plan)
        }
        carried = self.ray.remote(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
        )(Bank)
        return carried.remote(
            output / "shards",
            plan.pack_hash,
            cap=config.budget,
            target=config.target,
            journals=journals,
        )

    def run(self, signals: Raised) -> Outcome | None:
        """What stopped the run before its end; None where nothing did.

        Raises:
            PotstillError: a shard that cannot be run.
            Stopped: a shard whose processes die again and again, or no bank.
        """
        try:
            while self.tasks.running or self._may_start():
                self._start()
                self._look()
        except KeyboardInterrupt:
            self._end_in_order()
            ended = Interrupted(signals.number)
            self.stop = Outcome(ended.exit_code, str(ended))
        finally:
            for task in (*self.tasks.ghosts, *self.tasks.running):
                self.ray.cancel(task, force=True)
            self.ray.kill(self.bank)
        return self.stop

    def _workers(self) -> int:
        """Shards at a time; a cluster may grow."""
        if self.cluster.workers is not None:
            return self.cluster.workers
        there = self.ray.cluster_resources()
        return max(1, int(there.get("CPU", 1)))

    def _may_start(self) -> bool:
        return bool(self.tasks.waiting) and self.stop is None

    def _start(self) -> None:
        """Starts what there is room for."""
        most = self._workers()
        while self._may_start() and len(self.tasks.running) < most:
            shard = self.tasks.waiting.pop(0)
            config = replace(self.job.config, shard=shard)
            task = self.work.remote(replace(self.job, config=config), self.bank)
            self.tasks.running[task] = shard

    def _look(self) -> None:
        """Waits a moment for tasks, takes what came of them, and shows the whole."""
        running = list(self.tasks.running)
        ended, _ = self.ray.wait(running, num_returns=1, timeout=LOOK)
        for task in ended:
            self._take(task, self.tasks.running.pop(task))
        state = self._state()
        self._show(state)
        if state.missing <= 0:
            self.tasks.waiting.clear()
        for shard, owner in state.lost.items():
            self._replace(shard, owner)

    def _take(self, task: Any, shard: int) -> None:
        """What came of a task: an outcome, an error of ours, or a death."""
        errors = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, PotstillError):
                raise error.cause from error
            raise Stopped("shard", f"{shard:05d}: {error.cause!r}") from error
        except errors.RayError as error:
            self.tasks.deaths[shard] += 1
            if self.tasks.deaths[shard] > MOST_DEATHS:
                what = f"shard {shard:05d}, {MOST_DEATHS} times"
                raise _gone(what, error) from error
            self.tasks.waiting.insert(0, shard)
        else:
            if outcome.stopped is not None and self.stop is None:
                said = f"shard {shard:05d}: {outcome.stopped}"
                self.stop = replace(outcome, stopped=said)

    def _state(self) -> State:
        """How the shards stand.

        Raises:
            Stopped: it does not come back.
        """
        silent = self.cluster.lost_after
        asked = self.bank.state.remote(silent)
        try:
            state: State = self.ray.get(asked, timeout=BANK_SECONDS)
        except self.ray.exceptions.RayError as error:
            raise _gone("bank", error) from error
        return state

    def _show(self, state: State) -> None:
        if self.whole.on_row is None:
            return
        tally = Tally()
        stats = Stats()
        for facts in state.facts.values():
            if isinstance(facts, tuple):
                tally.join(facts[0])
                stats.join(facts[1])
        self.whole.on_row(tally, stats)

    def _replace(self, shard: int, owner: int) -> None:
        """Starts a silent shard a second time."""
        if (shard, owner) in self.tasks.replaced:
            return
        self.tasks.replaced.add((shard, owner))
        for task, its_shard in list(self.tasks.running.items()):
            if its_shard == shard:
                del self.tasks.running[task]
                self.tasks.ghosts.append(task)
                self.tasks.waiting.insert(0, shard)

    def _end_in_order(self) -> None:
        """Lets every shard publish what it has."""
        running = list(self.tasks.running)
        for task in running:
            self.ray.cancel(task, force=False)
        self.ray.wait(
            running,
            num_returns=len(running),
            timeout=ENDING_SECONDS,
        )
