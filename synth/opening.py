"""Opens what a run needs: its journal, its teachers, and a door to each of them."""

from __future__ import annotations

from pathlib import Path

from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.door import Door, Doors, Stats
from synth.calls.journal import Journal
from synth.calls.price import FREE, Price
from synth.prepare import Prepared, RunConfig
from synth.teachers._batch_log import BatchLog
from synth.teachers.base import Settings, open_teacher
from synth.teachers.batch import MOST_REQUESTS, Batch


async def open_doors(prepared: Prepared, stats: Stats) -> Doors:
    """The doors of a run by role, all before one journal and one budget.

    Raises:
        WrongUse: a teacher cannot be opened, or another run holds the folder.
    """
    config, folder = prepared.config, prepared.output / "journal"
    settings = Settings(
        api_base=config.api_base, timeout=config.timeout, seed=config.seed or 0, batch=config.batch, folder=folder
    )  # fmt: skip
    prices = {role: prepared.price(name) or FREE for role, name in prepared.teachers().items()}
    opened = {role: open_teacher(name, settings) for role, name in prepared.teachers().items()}
    others = [Journal(Path(other) / "journal", writable=False) for other in config.reuse]
    log = BatchLog(folder)
    journal = Journal(folder, under_way={key for batch in log.pending().values() for key in batch.keys})
    journal.others = others
    _tick_off(log, journal)
    budget = Budget(config.budget, journal.totals.usd)
    doors = {
        role: Door(teacher, journal, gate=_gate(config, teacher), budget=budget, price=prices[role], stats=stats)
        for role, teacher in opened.items()
    }
    found = Doors(doors, journal)
    for teacher in opened.values():
        if isinstance(teacher, Batch):
            teacher.recover()
    if log.pending() and not config.batch:
        try:
            await _end_batches(found, settings, next(iter(prices.values())))
        except BaseException:
            await found.close()
            raise
    return found


def width(config: RunConfig) -> int:
    """Seeds in flight: enough to keep every call busy, or to fill a batch."""
    return MOST_REQUESTS if config.batch else 2 * config.concurrency


def _gate(config: RunConfig, teacher: object) -> Gate:
    """Batches wait at the provider, not at the gate."""
    if isinstance(teacher, Batch):
        return Gate(MOST_REQUESTS, start=MOST_REQUESTS)
    return Gate(config.concurrency, config.rpm, config.tpm)


def _tick_off(log: BatchLog, journal: Journal) -> None:
    """Batches whose replies are all journaled are done, even if a crash kept the last run from saying so."""
    for batch in log.pending().values():
        if all(journal.get(key) is not None for key in batch.keys):
            log.done(batch.name)


async def _end_batches(doors: Doors, settings: Settings, price: Price) -> None:
    """Batches that an earlier run left under way are ended, so that nothing in them is paid for a second time online."""
    batch = Batch("", settings)
    await batch.drain()
    await doors.keep(batch, price)
    await batch.close()
