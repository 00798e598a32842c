"""The order of the line, and nothing else: seeds -> render -> ask -> parse -> filter -> rows.

Each seed walks alone through all steps; `synth.pipeline.window` decides how many do at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from synth.calls.ask import ask_once
from synth.calls.door import Doors
from synth.calls.reading import Reading
from synth.core.errors import (
    PotstillError,
    RowFault,
    TeacherError,
    fault_of,
)
from synth.core.records import (
    Completion,
    Exit,
    Fields,
    Row,
    Sample,
    Seed,
    Verdict,
)
from synth.filters.base import Filter, one_each
from synth.packs.choosing import Asking
from synth.packs.library import Library
from synth.packs.pack import Pack
from synth.packs.step import Gathered, Step


@dataclass
class Tally:
    """asked = kept + dropped + failed, counted where each happens; `seeds` have left. `verdicts` by
    filter, and those of them that say nothing.
    """

    seeds: int = 0
    asked: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def count(self, exit_: Exit) -> None:
        """Books one exit."""
        for verdict in exit_.sample.verdicts:
            self.verdicts[verdict.filter] += 1
            if verdict.keep is None:
                self.unknown[verdict.filter] += 1
        if exit_.kind == "kept":
            self.kept += 1
        else:
            (self.dropped if exit_.kind == "dropped" else self.failed)[
                exit_.reason
            ] += 1

    def join(self, other: Tally) -> None:
        """Counts all that another tally holds."""
        self.seeds += other.seeds
        self.asked += other.asked
        self.kept += other.kept
        self.dropped.update(other.dropped)
        self.failed.update(other.failed)
        self.verdicts.update(other.verdicts)
        self.unknown.update(other.unknown)

    def judged(self) -> Fields:
        """As run.json holds it: filter -> verdicts, and how many of them say nothing."""
        return {
            name: {"rows": count, "unknown": self.unknown[name]}
            for name, count in sorted(self.verdicts.items())
        }

    def balanced(self) -> bool:
        """Whether every sample that started has left."""
        return (
            self.asked == self.kept + self.dropped.total() + self.failed.total()
        )

    def counts(self) -> Fields:
        """As run.json holds it."""
        return {
            "asked": self.asked,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "failed": dict(self.failed),
        }


class Regrouped(NamedTuple):
    """Whom a step asks about.

    Attributes:
        walking: the samples that it asks about.
        bystanders: those that pass it by.
        lost: exits of samples without an element to ask about.
        more: how many samples there are more than before.
    """

    walking: list[Sample]
    bystanders: Sequence[Sample] = ()
    lost: Sequence[Exit] = ()
    more: int = 0


class Walker:
    """Walks one seed through a pack's steps."""

    def __init__(
        self,
        pack: Pack,
        doors: Doors,
        taint: Sequence[str] = (),
        library: Library | None = None,
    ) -> None:
        self.pack = pack
        self.doors = doors
        self.taint = tuple(taint)
        self.library = library or Library(pack)
        # Two samples of a draw differ in the elements that were spread.
        self._spread = [s.spread[1] for s in pack.steps if s.spread]
        self._rescued = [s.rescues for s in pack.steps if s.rescues]
        self._meta = {"pack": pack.name, "pack_hash": pack.hash}

    async def walk(self, seed: Seed) -> tuple[int, list[Exit]]:
        """(samples asked, their exits) of one seed.

        Raises:
            Stopped, BudgetReached: the run is over; the seed has not left.
        """
        exits: list[Exit] = []
        alive = [Sample(seed, seed.fields, self._about(seed.fields))]
        asked = 1
        fallen: dict[str, list[Exit]] = {}
        if self._rescued:
            fallen = {name: [] for name in self._rescued}
        for step in self.pack.steps:
            group = Regrouped(alive)
            if step.regroups:
                group = self._regrouped(step, alive, fallen)
            walking = group.walking
            asked += group.more + len(walking) * (step.draws - 1)
            lost = [*group.lost]
            drawn = []
            if len(walking) == step.draws == 1:
                outcomes = [await self._draw(step, walking[0], 0)]
            else:
                outcomes = await _all(self._draws(step, walking))
            for outcome in outcomes:
                if isinstance(outcome, Sample):
                    drawn.append(outcome)
                else:
                    lost.append(outcome)
            survivors, filtered = await self._filter(step, drawn)
            lost += filtered
            if fallen and not survivors and step.name in fallen:
                lost = self._fall(lost, fallen[step.name])
            alive = [*group.bystanders, *survivors]
            exits += lost
        kept = [Exit("kept", sample) for sample in alive]
        return asked, kept + exits

    def _regrouped(
        self,
        step: Step,
        samples: list[Sample],
        fallen: dict[str, list[Exit]],
    ) -> Regrouped:
        """Whom a step asks about: samples that fell, all of a seed as one, one an element, each
        with what is looked up before it.
        """
        bystanders: list[Sample] = []
        if step.rescues:
            bystanders = samples
            samples = [exit_.sample for exit_ in fallen.pop(step.rescues)]
        before = len(samples)
        if step.gathers:
            samples = _gathered(step.gathers, samples)
        if step.retrieves:
            samples = [
                self._looked_up(step, sample, drawn=False) for sample in samples
            ]
        none: list[Exit] = []
        if step.spread:
            samples, none = _spread(step.spread, samples, self.pack)
        more = len(samples) - before + len(none)
        return Regrouped(samples, bystanders, none, more)

    def _draws(
        self, step: Step, samples: Sequence[Sample]
    ) -> list[Coroutine[Any, Any, Sample | Exit]]:
        """All draws of a step, in their order."""
        return [
            self._draw(step, sample, draw)
            for sample in samples
            for draw in range(step.draws)
        ]

    def _about(self, fields: Row) -> Row:
        """What is known of a row before its first step: the pack, and the taint of the run and of
        the run that the seed comes from.
        """
        from_run = fields.get(
            "seed_meta"
        )  # where the seeds are the rows of another run
        before = from_run.get("taint") if isinstance(from_run, dict) else None
        taint = sorted({*self.taint, *(before or ())})
        return {**self._meta, "taint": taint} if taint else self._meta

    def _looked_up(
        self, step: Step, sample: Sample, draw: int = 0, *, drawn: bool
    ) -> Sample:
        """The sample with what is looked up before a step."""
        found = self.library.retrieved(
            step,
            self.pack.values(sample.fields),
            self._asking(sample, draw),
            drawn=drawn,
        )
        return sample.with_fields(found, {})

    def _asking(self, sample: Sample, draw: int, *place: Any) -> Asking:
        """Whose question it is."""
        if self._spread:
            fields = sample.fields
            spread = [fields[name] for name in self._spread if name in fields]
            place = (*spread, *place)
        return Asking(sample.seed.id, draw, place)

    @staticmethod
    def _fall(lost: list[Exit], fallen: list[Exit]) -> list[Exit]:
        """Hands the first dropped sample of a group to the step that rescues; the others leave.
        Failed calls are asked again instead.
        """
        index = next(
            (n for n, exit_ in enumerate(lost) if exit_.kind == "dropped"), None
        )
        if index is None:
            return lost
        exit_ = lost[index]
        attempt = {
            "reason": exit_.reason,
            **{
                name: value
                for name, value in exit_.sample.fields.items()
                if name not in exit_.sample.seed.fields
            },
        }
        fallen.append(
            Exit(
                "dropped",
                exit_.sample.with_fields({"attempt": attempt}, {}),
                exit_.reason,
                exit_.detail,
            )
        )
        return [*lost[:index], *lost[index + 1 :]]

    async def _draw(
        self, step: Step, sample: Sample, draw: int
    ) -> Sample | Exit:
        """One draw: the sample one step on, or its exit."""
        draw = draw if step.draws > 1 else int(sample.meta.get("draw", 0))
        try:
            if step.sets:
                sample = sample.with_fields(
                    step.with_sets(self.pack.values(sample.fields)), {}
                )
            if step.retrieves:
                sample = self._looked_up(step, sample, draw, drawn=True)
            if step.each:
                walked = await self._each(step, step.each, sample, draw)
                return self._then(step, walked)
            values = self.pack.values(sample.fields)
            asking = self._asking(sample, draw)
            asked = self.library.showing(step, values, asking)
            reading = await ask_once(
                asked,
                values,
                self.doors,
                draw=draw,
                seed_id=sample.seed.id,
            )
        except TeacherError as error:
            return Exit(
                "failed",
                sample.with_fields({}, {"step": step.name, "draw": draw}),
                error.kind,
                str(error),
            )
        except RowFault as error:
            return Exit(
                "dropped",
                sample.with_fields({}, {"step": step.name, "draw": draw}),
                "unrenderable",
                str(error),
            )
        return self._then(step, _arrive(sample, reading, reading.fields))

    def _then(self, step: Step, arrived: Sample | Exit) -> Sample | Exit:
        """The sample with what the step writes once its reply is read."""
        if isinstance(arrived, Exit) or not step.thens:
            return arrived
        try:
            made = step.with_thens(self.pack.values(arrived.fields))
        except RowFault as error:
            return Exit("dropped", arrived, "unrenderable", str(error))
        return arrived.with_fields(made, {})

    async def _each(
        self, step: Step, each: tuple[str, str], sample: Sample, draw: int
    ) -> Sample | Exit:
        """Walks a list: in order where every question sees the answers before it as `history`, else
        all of it at once.
        """
        whole = self.pack.values(sample.fields)
        elements = list(whole.get(each[0]) or [])

        def seen(index: int, history: list[Fields]) -> Fields:
            return {
                **whole,
                each[1]: elements[index],
                "history": history,
                "index": index,
            }

        def ask(values: Fields) -> Any:
            asking = self._asking(sample, draw, values["index"])
            return ask_once(
                self.library.showing(step, values, asking),
                values,
                self.doors,
                draw=draw,
                seed_id=sample.seed.id,
            )

        readings: list[Reading] = (
            []
            if step.looks_back
            else await _all(
                [ask(seen(index, [])) for index in range(len(elements))]
            )
        )
        history: list[Fields] = []
        reading = Reading({}, Completion(""), {"step": step.name, "draw": draw})
        for index, element in enumerate(elements):
            if step.looks_back:
                values = seen(index, list(history))
                if step.ends(values):
                    break
                reading = await ask(values)
            else:
                reading = readings[index]
            if reading.unreadable:
                break
            # What is a record of its own stands at the same place of the list that is walked.
            history.append(
                {
                    **(
                        {}
                        if isinstance(element, dict | list)
                        else {each[1]: str(element)}
                    ),
                    **reading.fields,
                }
            )
        return _arrive(sample, reading, {step.name: history})

    async def _filter(
        self, step: Step, samples: list[Sample]
    ) -> tuple[list[Sample], list[Exit]]:
        """Sends the draws of one sample through the step's filters."""
        exits: list[Exit] = []
        for part in step.row_filters:
            if not samples:
                break
            samples, lost = await self._sift(part, samples)
            exits += lost
        return samples, exits

    async def _sift(self, part: Filter, samples: list[Sample]) -> Sifted:
        """The samples that a filter keeps, and the exits of the others."""
        rows = [
            {**sample.fields, "meta": sample.meta, "id": sample.seed.id}
            for sample in samples
        ]
        try:
            if part.asks:
                verdicts = await part.verdicts(rows, self.doors)
            else:
                verdicts = list(map(part.named, part.judge_group(rows)))
            return _sifted(part, samples, verdicts)
        except Exception as error:  # noqa: BLE001 - what a filter cannot judge leaves alone
            if len(samples) > 1 and part.group is None:
                parts = [await self._sift(part, [sample]) for sample in samples]
                survivors = [sample for some, _ in parts for sample in some]
                return survivors, [exit_ for _, lost in parts for exit_ in lost]
            return [], [_unjudged(part, sample, error) for sample in samples]


Sifted = tuple[list[Sample], list[Exit]]


def _sifted(
    part: Filter, samples: list[Sample], verdicts: Sequence[Verdict]
) -> Sifted:
    """The samples that the verdicts keep, and the exits of the others."""
    survivors: list[Sample] = []
    lost: list[Exit] = []
    for sample, verdict in one_each(part, samples, verdicts):
        marked = sample.with_verdict(verdict)
        if part.keeps(verdict):
            survivors.append(marked)
        else:
            lost.append(
                Exit(
                    "dropped",
                    marked,
                    part.why(verdict),
                    verdict.detail(),
                )
            )
    return survivors, lost


def _unjudged(part: Filter, sample: Sample, error: Exception) -> Exit:
    """The exit of a row over which a filter broke.

    Raises:
        PotstillError: it is no fault of the row.
    """
    detail = f"{part.name}: {error}"[:300]
    if isinstance(error, TeacherError):
        return Exit("failed", sample, error.kind, detail)
    if isinstance(error, RowFault):
        return Exit("dropped", sample, "unjudged", detail)
    if isinstance(error, PotstillError):
        raise error
    detail = f"filter {part.name}: {fault_of(error)}"[:300]
    return Exit("failed", sample, f"error_{type(error).__name__}", detail)


def _arrive(sample: Sample, reading: Reading, fields: Row) -> Sample | Exit:
    meta = reading.meta
    before = sample.meta.get("mended")
    if before:
        now = meta.get("mended")
        meta = {**meta, "mended": f"{before}; {now}" if now else before}
    moved = sample.with_fields(
        {**fields, "reply": reading.completion.text}, meta
    ).without("attempt")
    if reading.unreadable:
        return Exit(
            "dropped",
            moved,
            reading.unreadable.reason,
            reading.unreadable.detail,
        )
    return moved


def _gathered(gathers: Gathered, samples: list[Sample]) -> list[Sample]:
    """All samples of a seed as one, with the fields of each as an element of a list."""
    if not samples:
        return []
    elements = []
    for sample in samples:
        row = sample.fields
        elements.append({name: row.get(name) for name in gathers.kinds})
    first = samples[0]
    fields = {
        name: value
        for name, value in first.fields.items()
        if name not in gathers.parted
    }
    fields[gathers.into] = elements
    verdicts = [verdict for sample in samples for verdict in sample.verdicts]
    meta = {**first.meta, "draw": 0}
    return [Sample(first.seed, fields, meta, tuple(verdicts))]


def _spread(
    spread: tuple[str, str], samples: list[Sample], pack: Pack
) -> tuple[list[Sample], list[Exit]]:
    """One sample an element of the list that a step spreads; samples whose list is empty leave."""
    field, item = spread
    lists = [
        (sample, list(pack.values(sample.fields).get(field) or []))
        for sample in samples
    ]
    none = [
        Exit("dropped", sample, "empty_list", field)
        for sample, elements in lists
        if not elements
    ]
    return [
        sample.with_fields({item: element}, {})
        for sample, elements in lists
        for element in elements
    ], none


async def _all(works: list[Any]) -> list[Any]:
    """All results; a single coroutine is awaited without the cost of a task."""
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
