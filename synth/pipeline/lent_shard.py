"""One shard of a run whose shards share dollars, permits and a target: what a process does for it,
whatever carries it there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from synth.calls.borrower import Borrower, Renew
from synth.calls.door import Stats
from synth.calls.lending import Report
from synth.core.aio import run_async
from synth.core.errors import PotstillError
from synth.pipeline.merge import tally_of
from synth.pipeline.prepare import RunConfig
from synth.pipeline.run import start
from synth.pipeline.shards import prepare_shard
from synth.processes.garbage import collect_seldom
from synth.runs.result import Run
from synth.runs.shard_owner import owned
from synth.runs.shard_plan import shard_folder

# Asks the bank for the number of a new owner: (number, seconds to wait where there is none yet).
Begin = Callable[[int], tuple[int, float]]


@dataclass(frozen=True)
class Job:
    """A shard to run.

    Attributes:
        pack: the pack's name or folder, as it was planned.
        output: the folder of all shards, as a path that every machine knows.
        config: the run's settings; its `shard` says which.
        place: the folder that other paths of the settings start from.
    """

    pack: str
    output: Path
    config: RunConfig
    place: str

    @property
    def shard(self) -> int:
        """Its number."""
        return self.config.shard or 0


@dataclass(frozen=True)
class Outcome:
    """How a shard ended: as `Run` says it."""

    exit_code: int
    stopped: str | None


def run_shard(job: Job, begin: Begin, renew: Renew) -> Outcome:
    """Runs a shard as the owner of its folder.

    Raises:
        WrongUse: it cannot be run as it was planned, or another process writes it.
        Stopped: another process owns it by now.
    """
    os.chdir(job.place)
    collect_seldom()
    number, wait = begin(job.shard)
    while not number:
        time.sleep(wait)
        number, wait = begin(job.shard)
    folder = shard_folder(job.output, job.shard)
    with owned(folder, number) as handle:
        borrower = Borrower(job.shard, number, renew)
        prepared = prepare_shard(job.pack, job.output, job.config)
        lent = replace(prepared, output=handle, borrower=borrower)
        try:
            done = start(lent)
        except PotstillError as error:
            raise _named(error, handle, folder) from error
        if prepared.unchanged:
            run_async(_tell(borrower, done))
    return Outcome(done.exit_code, done.stopped)


async def _tell(borrower: Borrower, done: Run) -> None:
    """Tells the bank of a shard that was finished before."""
    tally = tally_of(done.info)
    stats = Stats(reused=done.info["calls"]["reused"])
    usd = done.info["cost"]["usd"] or 0.0
    await borrower.renew(
        Report(
            borrower.shard,
            borrower.owner,
            spent=usd,
            cap=usd,
            kept=tally.kept,
            facts=(tally, stats),
            ended=True,
        )
    )


def _named(error: PotstillError, handle: Path, folder: Path) -> PotstillError:
    """The error with the folder's own name."""
    by_handle = str(handle)
    words = []
    for part in error.args:
        text = str(part)
        words.append(text.replace(by_handle, str(folder)))
    return type(error)(*words)
