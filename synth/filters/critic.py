"""A model's opinion: keeps rows that a critic accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from synth.errors import TeacherError
from synth.filters.base import Filter, run_async
from synth.records import Row, Verdict, seed_id

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs import Pack, Step
    from synth.walk import Reading


@dataclass(frozen=True, kw_only=True)
class Critic(Filter):
    """Asks a teacher, with a pack's words, whether a row may stay.

    Sees: the pack's inputs in one row. Costs: `votes` calls a row, and one more for each unreadable verdict.
    An unreadable verdict is asked again once and is then unknown, never "no".

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: name or folder of the critic's pack: one step, whose parser brings the verdict.
        votes: verdicts asked for each row (draws of the critic); the share that accepts is the row's score.
        least: keep rows with at least this score (0 to 1); None for more than half.
        promise: what `calibrate` measured; for the record.
        verdict_field: the parsed field that holds the verdict.
        accept: its text that keeps a row.
        journal: folder for the replies when used as a library, so that nothing is paid for twice; None
            keeps them in memory for the length of one `split`.
        api_base: endpoint when used as a library.
        concurrency: most calls in flight when used as a library.

    Reasons:
        critic_rejects: the critic said no.
        critic_unreadable: two replies without a verdict (unknown).
        critic_empty: a text that should be judged is empty; nobody is asked.
        critic_failed: no reply came (unknown).

    Marks: every field of the critic's first reply (`verdict`, `critique`), `teacher`, and `score`.

    Example:
        >>> critic = Critic(teacher="simulated/critic:miss=0,false_alarm=0")
        >>> rows = [{"question": "What is 8 + 5 ?", "rationale": f"8 + 5 = {n}", "answer": str(n)} for n in (13, 3)]
        >>> kept, dropped = critic.split(rows)
        >>> [r["answer"] for r in kept], dropped[0]["reason"]
        (['13'], 'critic_rejects')
    """

    teacher: str = "critic"
    pack: str = "critic_faithful"
    votes: int = 1
    least: float | None = None
    promise: Mapping[str, Any] | None = None
    verdict_field: str = "verdict"
    accept: str = "yes"
    journal: str | None = None
    api_base: str | None = None
    concurrency: int = 64
    unknown: Literal["keep", "drop"] = "drop"

    asks: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "critic_rejects": "the critic said no", "critic_unreadable": "two replies without a verdict", "critic_failed": "no reply came",
        "critic_empty": "there is nothing to judge",
    }  # fmt: skip

    @cached_property
    def loaded(self) -> Pack:
        """The critic's pack, checked."""
        from synth.packs import Pack  # noqa: PLC0415 - filters that ask nobody need no templates

        return Pack.load(self.pack)

    @cached_property
    def step(self) -> Step:
        """The one question of the pack, put to this critic's teacher."""
        return replace(self.loaded.steps[0], role=self.teacher)

    def needs(self) -> tuple[str, ...]:
        """The fields that the critic's pack asks for."""
        return tuple(self.loaded.spec.inputs)

    def questions(self) -> Sequence[tuple[Step, Pack]]:
        """The one question of the critic's pack."""
        return ((self.step, self.loaded),)

    def roles(self) -> tuple[str, ...]:
        """The teacher that a run must hold open."""
        return (self.teacher,)

    async def verdicts(self, rows: Sequence[Row], doors: Doors | None = None) -> list[Verdict]:
        """One verdict per row, asked side by side."""
        if doors is not None:
            return await self._all(rows, doors)
        own = self._open()
        try:
            return await self._all(rows, own)
        finally:
            await own.close()

    async def _all(self, rows: Sequence[Row], doors: Doors) -> list[Verdict]:
        return [self.named(v) for v in await asyncio.gather(*(self._one(row, doors) for row in rows))]

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """Not for critics: they wait for a teacher."""
        raise TypeError(f"a critic is asked with `await critic.verdicts(rows)` or `critic.split(rows)`; {len(rows)} rows given")

    async def _one(self, row: Row, doors: Doors) -> Verdict:
        """Asks, and asks again once where the verdict cannot be read."""
        empty = [name for name, spec in self.loaded.spec.inputs.items() if row.get(name) == "" and not spec.optional]
        if empty:
            return Verdict(False, "critic_empty", {"empty": empty[0]})
        self.loaded.check_row(row, f"row {row.get('id', '')}".strip())
        values = self.loaded.values({name: row.get(name) for name in self.loaded.spec.inputs})
        try:
            said = await asyncio.gather(*(self._vote(values, doors, vote) for vote in range(self.votes)))
        except TeacherError as error:
            return Verdict(None, "critic_failed", {"failure": error.kind})
        readable = [reading for reading in said if not reading.unreadable]
        return self._read(readable) if readable else Verdict(None, "critic_unreadable", {"reply": said[0].completion.text[:200]})

    async def _vote(self, values: Row, doors: Doors, vote: int) -> Reading:
        """One verdict, asked for once more where it cannot be read."""
        reading = await self._ask(values, doors, vote)
        return await self._ask(values, doors, self.votes + vote) if reading.unreadable else reading

    async def _ask(self, values: Row, doors: Doors, draw: int) -> Reading:
        from synth.walk import ask_once  # noqa: PLC0415 - as above

        return await ask_once(self.step, values, doors, draw=draw, seed_id=seed_id({k: str(v) for k, v in values.items()}))

    def _read(self, readings: Sequence[Reading]) -> Verdict:
        said = [str(reading.fields.get(self.verdict_field, "")).casefold() for reading in readings]
        score = said.count(self.accept) / len(said)
        keep = score > 0.5 if self.least is None else score >= self.least
        marks = {**readings[0].fields, "teacher": readings[0].meta["teacher"], "score": round(score, 4)}
        return Verdict(keep, "" if keep else "critic_rejects", marks)

    def calibrate(
        self,
        labelled: Iterable[Row],
        *,
        label: str = "is_correct",
        group: str = "question",
        target_precision: float,
        confidence: float = 0.9,
    ) -> Critic:
        """This critic with the loosest `least` whose precision is promised, asked about labelled rows.

        Args:
            labelled: rows with the pack's inputs and the label.
            label: the column that says whether a row is right.
            group: the column that draws of one question share; rows of one question count as one cluster.
            target_precision: share of right rows among the kept ones, to be promised.
            confidence: of the promise.

        Raises:
            NotEnoughEvidence: no threshold can be promised; says how many labels are missing.
        """
        from synth.filters._calibrate import calibrate  # noqa: PLC0415 - as above

        rows = [dict(row) for row in labelled]
        verdicts = run_async(self.verdicts(rows))
        found = calibrate(
            [float(verdict.marks.get("score", -1.0)) for verdict in verdicts], [bool(row[label]) for row in rows],
            [str(row.get(group)) for row in rows], target_precision=target_precision, confidence=confidence,
        )  # fmt: skip
        return replace(self, least=found.least, promise=found.record())

    def canaries(self, right: Iterable[Row]) -> dict[str, float]:
        """Share of forged rows that this critic accepts, by kind of forgery; 0 everywhere is what a run deserves.

        Args:
            right: a few rows with a right `rationale` and `answer`; each is forged in every way.
        """
        from synth.filters._canaries import forge  # noqa: PLC0415 - as above

        forged = [pair for row in right for pair in forge(row)]
        verdicts = run_async(self.verdicts([row for _, row in forged]))
        kinds = dict.fromkeys(kind for kind, _ in forged)
        said = {kind: [v.keep is True for (k, _), v in zip(forged, verdicts, strict=True) if k == kind] for kind in kinds}
        return {kind: sum(accepted) / len(accepted) for kind, accepted in said.items()}

    def _open(self) -> Doors:
        """A door of its own, for use as a library."""
        from synth.calls.admission import Gate  # noqa: PLC0415 - as above
        from synth.calls.budget import Budget  # noqa: PLC0415
        from synth.calls.door import Door, Doors  # noqa: PLC0415
        from synth.calls.journal import Journal  # noqa: PLC0415
        from synth.teachers.base import Settings, open_teacher  # noqa: PLC0415

        teacher = open_teacher(self.teacher, Settings(api_base=self.api_base))
        journal = Journal(Path(self.journal) if self.journal else None)
        return Doors({self.teacher: Door(teacher, journal, gate=Gate(self.concurrency), budget=Budget(None))}, journal)
