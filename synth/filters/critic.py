"""A model's opinion: keeps rows that a critic accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.errors import TeacherError
from synth.filters.base import Filter
from synth.records import Row, Verdict, seed_id

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs import Pack, Step
    from synth.walk import Reading


@dataclass(frozen=True, kw_only=True)
class Critic(Filter):
    """Asks a teacher, with a pack's words, whether a row may stay.

    Sees: the pack's inputs in one row. Costs: one call a row (two where the first verdict is unreadable).
    An unreadable verdict is asked again once and is then unknown, never "no".

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: name or folder of the critic's pack: one step, whose parser brings the verdict.
        verdict_field: the parsed field that holds the verdict.
        accept: its text that keeps a row.
        journal: folder for the replies when used as a library, so that nothing is paid for twice; None
            keeps them in memory for the length of one `split`.
        api_base: endpoint when used as a library.
        concurrency: most calls in flight when used as a library.

    Reasons:
        critic_rejects: the critic said no.
        critic_unreadable: two replies without a verdict (unknown).
        critic_failed: no reply came (unknown).

    Marks: every field of the critic's reply (`verdict`, `critique`), and `teacher`.

    Example:
        >>> critic = Critic(teacher="simulated/critic:miss=0,false_alarm=0")
        >>> rows = [{"question": "What is 8 + 5 ?", "rationale": f"8 + 5 = {n}", "answer": str(n)} for n in (13, 3)]
        >>> kept, dropped = critic.split(rows)
        >>> [r["answer"] for r in kept], dropped[0]["reason"]
        (['13'], 'critic_rejects')
    """

    teacher: str = "critic"
    pack: str = "critic_faithful"
    verdict_field: str = "verdict"
    accept: str = "yes"
    journal: str | None = None
    api_base: str | None = None
    concurrency: int = 64
    unknown: Literal["keep", "drop"] = "drop"

    asks: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "critic_rejects": "the critic said no", "critic_unreadable": "two replies without a verdict", "critic_failed": "no reply came",
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
        self.loaded.check_row(row, f"row {row.get('id', '')}".strip())
        values = self.loaded.values({name: row.get(name) for name in self.loaded.spec.inputs})
        try:
            for draw in (0, 1):
                reading = await self._ask(values, doors, draw)
                if not reading.unreadable:
                    return self._read(reading)
        except TeacherError as error:
            return Verdict(None, "critic_failed", {"failure": error.kind})
        return Verdict(None, "critic_unreadable", {"reply": reading.completion.text[:200]})

    async def _ask(self, values: Row, doors: Doors, draw: int) -> Reading:
        from synth.walk import ask_once  # noqa: PLC0415 - as above

        return await ask_once(self.step, values, doors, draw=draw, seed_id=seed_id({k: str(v) for k, v in values.items()}))

    def _read(self, reading: Reading) -> Verdict:
        said = str(reading.fields.get(self.verdict_field, "")).casefold()
        marks = {**reading.fields, "teacher": reading.meta["teacher"]}
        return Verdict(said == self.accept, "" if said == self.accept else "critic_rejects", marks)

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
