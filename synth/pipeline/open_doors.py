"""Opens what a run needs: its journal, its teachers, and a door to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.calls.admission import Gate
from synth.calls.borrower import Borrower
from synth.calls.budget import Budget
from synth.calls.door import Door, Doors, Stats
from synth.calls.fleet import open_one_or_many
from synth.calls.journal import Journal
from synth.calls.price import FREE
from synth.calls.spans import Spans
from synth.core.errors import WrongUse
from synth.pipeline.prepare import Prepared, RunConfig
from synth.runs.ownership import check_endpoints
from synth.runs.shard_plan import run_folders
from synth.teachers.base import (
    MOST_REQUESTS,
    Settings,
    Teacher,
    open_teacher,
    teacher_name,
)
from synth.teachers.wire.batch_log import BatchLog, Pending


async def open_doors(
    prepared: Prepared, stats: Stats, spans: Spans | None = None
) -> Doors:
    """The doors of a run by role, all before one journal and one budget.

    Args:
        prepared: the run.
        stats: counts all calls.
        spans: are told of all calls.

    Raises:
        WrongUse: a teacher cannot be opened, or another run holds the folder.
    """
    config = prepared.config
    folder = prepared.output / "journal"
    settings = {
        role: settings_of(prepared, role) for role in prepared.teachers()
    }
    prices = {role: prepared.price(role) or FREE for role in settings}
    opened = {
        role: _open(name, settings[role], config)
        for role, name in prepared.teachers().items()
    }
    others = [
        Journal(other / "journal", writable=False)
        for other in reused_folders(config)
    ]
    log = BatchLog(folder)
    journal = Journal(
        folder,
        under_way={
            key for batch in log.pending().values() for key in batch.keys
        },
    )
    journal.others = others
    journal.expect(prepared.scan.rows)
    _tick_off(log, journal)
    borrower = prepared.borrower
    spent = journal.totals.usd
    if borrower is None:
        budget = Budget(config.budget, spent)
    else:
        budget = borrower.lent_budget(config.budget, spent)
    gates = _gates(config, opened, settings, borrower)
    doors = {
        role: Door(
            teacher,
            journal,
            gate=gates[role],
            budget=budget,
            price=prices[role],
            patience=config.patience,
            stats=stats,
            permit=borrower.permit if borrower else None,
            by_slots=config.concurrency is None,
            spans=spans,
        )
        for role, teacher in opened.items()
    }
    doors_of_run = Doors(doors, journal, budget)
    try:
        _check_endpoints(prepared, opened)
    except BaseException:
        await doors_of_run.close()
        raise
    owners = _owners(log, prepared.teachers())
    for role, teacher in opened.items():
        teacher.recover(owners.get(role, []))
    if owners and not config.batch:
        try:
            for role, batches in owners.items():
                await _end_batches(doors_of_run, prepared, role, batches)
        except BaseException:
            await doors_of_run.close()
            raise
    return doors_of_run


def reused_folders(config: RunConfig) -> list[Path]:
    """Folders of other runs whose replies serve this one; of a run in shards, those of each."""
    return [
        folder for other in config.reuse for folder in run_folders(Path(other))
    ]


def _open(name: str, settings: Settings, config: RunConfig) -> Teacher:
    """The teacher of a role: one endpoint, or many."""
    if settings.endpoints is not None and config.batch:
        raise WrongUse(
            "--endpoints, --batch",
            "both",
            "one of them",
            "A batch waits at one provider: leave --endpoints out.",
        )
    return open_one_or_many(name, settings, config)


def endpoints_of(opened: Iterable[Teacher]) -> dict[str, str]:
    """Name of a teacher as it stands in keys -> endpoint; "" where the name says all."""
    return {
        teacher_name(teacher.family, teacher.model): teacher.endpoint
        for teacher in opened
    }


def adapted_of(opened: Iterable[Teacher]) -> dict[str, dict[str, str]]:
    """Name of a teacher -> what it does not take, and why; teachers that take everything are left
    out.
    """
    return {
        teacher_name(teacher.family, teacher.model): dict(teacher.adapted)
        for teacher in opened
        if teacher.adapted
    }


def _check_endpoints(prepared: Prepared, opened: Mapping[str, Teacher]) -> None:
    """Raises WrongUse where one model's name stands for two endpoints, in this run or in the
    replies that may serve it.
    """
    if prepared.config.same_teacher:
        return
    endpoints = endpoints_of(opened.values())
    for role, teacher in opened.items():
        name = teacher_name(teacher.family, teacher.model)
        if endpoints[name] != teacher.endpoint:
            todo = (
                "Give the two models two names where they are served; where both are one "
                "teacher, say --same-teacher."
            )
            got = f"{name} at {teacher.endpoint} and at {endpoints[name]}"
            raise WrongUse(
                f"--teacher {role}",
                got,
                "one endpoint for each name: keys hold no URL",
                todo,
            )
    check_endpoints(
        [prepared.output, *reused_folders(prepared.config)],
        endpoints,
    )


def settings_of(prepared: Prepared, role: str) -> Settings:
    """How the teacher of a role is reached."""
    config = prepared.config
    return config.settings(
        role,
        prepared.teachers()[role],
        batch=config.batch,
        folder=prepared.output / "journal",
        plugins=tuple(config.plugins),
        bucket=config.batch_bucket,
    )


def _owners(
    log: BatchLog, teachers: Mapping[str, str]
) -> dict[str, list[Pending]]:
    """Role -> the batches under way that it collects: its own, and those of roles that are gone or
    were not noted, of its provider. Batches of a provider that no role asks stay where they are.
    """
    batches_by_role: dict[str, list[Pending]] = {}
    for batch in log.pending().values():
        able = [
            role
            for role, name in teachers.items()
            if name.startswith(f"{batch.provider}/")
        ]
        role = batch.role if batch.role in able else next(iter(able), None)
        if role is not None:
            batches_by_role.setdefault(role, []).append(batch)
    return batches_by_role


# Seeds beyond those that are asked, so that calls go on while some of them pause before they are
# asked again.
PAUSING = 64


def width(config: RunConfig) -> int:
    """Seeds in flight: enough to keep every call busy, or to fill a batch."""
    if config.batch:
        return MOST_REQUESTS
    calls = config.at_once
    return calls + max(calls, min(PAUSING, 8 * calls))


def _gates(
    config: RunConfig,
    opened: Mapping[str, Teacher],
    settings: Mapping[str, Settings],
    borrower: Borrower | None,
) -> dict[str, Gate]:
    """Role -> gate. Roles that ask one model at one endpoint under the same limits share a gate: a
    limit is the endpoint's. Where there is a borrower, a gate lets out what is lent.
    """
    shared: dict[Any, Gate] = {}
    gates = {}
    for role, teacher in opened.items():
        if teacher.in_batches:
            # Batches wait at the provider, not at the gate.
            gates[role] = Gate(MOST_REQUESTS, start=MOST_REQUESTS)
            continue
        how = settings[role]
        limits = config.limits(role)
        same = (
            teacher.family,
            teacher.model,
            how.api_base,
            how.endpoints,
            how.api_key_env,
            limits,
        )
        if same not in shared:
            shared[same] = Gate(config.at_once, *limits)
            if borrower is not None:
                borrower.add(repr(same), shared[same])
        gates[role] = shared[same]
    return gates


def _tick_off(log: BatchLog, journal: Journal) -> None:
    """Batches whose replies are all journaled are done, even if a crash kept the last run from
    saying so.
    """
    for batch in log.pending().values():
        if all(journal.get(key) is not None for key in batch.keys):
            log.done(batch.name)


async def _end_batches(
    doors: Doors, prepared: Prepared, role: str, batches: Sequence[Pending]
) -> None:
    """Batches that an earlier run left under way are ended, so that nothing in them is paid for a
    second time online.
    """
    settings = replace(settings_of(prepared, role), batch=True)
    batch = open_teacher(prepared.teachers()[role], settings)
    await batch.drain(batches)
    await doors.keep(batch, prepared.price(role, batch=True) or FREE)
    await batch.close()
