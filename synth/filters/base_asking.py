"""What all filters share that ask a teacher: a pack, a door, a second question where a reply cannot
be read.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.calls.call_options import CallOptions
from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict, seed_id
from synth.filters.base import Filter

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.calls.price import Price
    from synth.calls.reading import Reading
    from synth.packs.pack import Pack
    from synth.packs.step import Step

# Opinions of one critic about one row, at most.
MOST_VOTES = 1_000


@dataclass(frozen=True, kw_only=True)
class AskingFilter(CallOptions, Filter):
    """A filter with a teacher. Inside a run its calls pass the run's doors; used as a library it
    opens its own, by the options of calls that a run has, too.

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: name or folder of the pack with the words of the question: one step.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            None keeps them in memory for the length of one `split`.
    """

    teacher: str = "critic"
    pack: str = ""
    journal: str | None = None
    unknown: Literal["keep", "drop"] = "drop"

    asks: ClassVar[bool] = True

    @cached_property
    def loaded(self) -> Pack:
        """The pack, checked."""
        # Filters that ask nobody need no templates.
        from synth.packs.pack import Pack  # noqa: PLC0415

        loaded = Pack.load(self.pack)
        step = loaded.steps[0]
        if step.chosen or step.talk or step.retrieves:
            raise WrongUse(
                f"pack {self.pack!r}",
                "a question that chooses rows or talks",
                "a pack of one plain question",
                "Name a pack without `retrieve`, `talk` and chosen demonstrations.",
            )
        self.check_pack(loaded)
        return loaded

    def check_pack(self, pack: Pack) -> None:
        """Raises WrongUse where a pack's replies cannot be read as the filter reads them."""

    def step(self, teacher: str | None = None) -> Step:
        """The one question of the pack, put to a teacher."""
        step = self.loaded.steps[0]
        step = replace(
            step,
            role=teacher or self.teacher,
            # A verdict that cannot be read is worth a second question.
            repairs=max(1, step.repairs),
        )
        if self.seed is None:
            return step
        sampling = replace(step.sampling, seed=self.seed)
        return replace(step, sampling=sampling)

    def needs(self) -> tuple[str, ...]:
        """The fields that the pack asks for."""
        return tuple(self.loaded.spec.inputs)

    def calls(self, draws: int) -> float:
        """Calls for a seed with so many draws."""
        return draws

    def questions(self, draws: int) -> Sequence[tuple[Step, Pack, float]]:
        """The pack's question to each teacher."""
        roles = self.roles()
        return [
            (self.step(role), self.loaded, self.calls(draws) / len(roles))
            for role in roles
        ]

    def roles(self) -> tuple[str, ...]:
        """The teachers that a run must hold open."""
        return (self.teacher,)

    async def verdicts(
        self, rows: Sequence[Row], doors: Doors | None = None
    ) -> list[Verdict]:
        """One verdict per row, asked side by side."""
        if doors is not None:
            return [self.named(v) for v in await self.judged(rows, doors)]
        own = self.open_doors()
        try:
            return [self.named(v) for v in await self.judged(rows, own)]
        finally:
            await own.close()

    async def judged(self, rows: Sequence[Row], doors: Doors) -> list[Verdict]:
        """The plain verdicts, rows asked about side by side."""
        verdicts = await asyncio.gather(
            *(self.about(row, doors) for row in rows), return_exceptions=True
        )
        for verdict in verdicts:
            if isinstance(verdict, BaseException):
                raise verdict  # only now: what was under way has arrived, and is not asked twice
        return verdicts  # type: ignore[return-value]

    @abstractmethod
    async def about(self, row: Row, doors: Doors) -> Verdict:
        """The verdict on one row."""

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """Not for filters that wait for a teacher."""
        raise TypeError(
            f"{self.name} is asked with `await part.verdicts(rows)` or `part.split(rows)`; "
            f"{len(rows)} rows given"
        )

    def values(self, row: Row) -> Row:
        """What the pack's templates see of a row.

        Raises:
            WrongUse: an input is missing.
        """
        self.loaded.check_row(row, f"row {row.get('id', '')}".strip())
        return self.loaded.values(
            {name: row.get(name) for name in self.loaded.spec.inputs}
        )

    def empty_input(self, row: Row) -> str:
        """The first required input that is an empty text; "" where there is none."""
        return next(
            (
                name
                for name, spec in self.loaded.spec.inputs.items()
                if row.get(name) == "" and not spec.optional
            ),
            "",
        )

    async def ask(
        self,
        values: Row,
        doors: Doors,
        *,
        draw: int = 0,
        again: int = 1,
        teacher: str | None = None,
    ) -> Reading:
        """One reading. A reply that cannot be read is shown to the teacher with what is wrong, and
        asked again, once or as often as the pack's step says. One that another turn would not mend
        (it is cut off, or refuses) is drawn anew under the number `draw + again`, unless the
        teacher is asked at temperature 0, where it would come back.

        Raises:
            TeacherError: no reply came.
        """
        from synth.calls.ask import FINAL, ask_once  # noqa: PLC0415 - as above

        step = self.step(teacher)
        seed = seed_id({k: str(v) for k, v in values.items()})

        def fault(fields: Row) -> str:
            return self.fault(fields, values)

        reading = await ask_once(
            step, values, doors, draw=draw, seed_id=seed, fault=fault
        )
        unreadable = reading.unreadable
        if unreadable is None or unreadable.reason not in FINAL:
            return reading
        if step.sampling.temperature == 0 or reading.asked > step.repairs:
            return reading
        return await ask_once(
            replace(step, repairs=0),
            values,
            doors,
            draw=draw + again,
            seed_id=seed,
            fault=fault,
        )

    def fault(self, fields: Row, values: Row) -> str:  # noqa: ARG002
        """What is wrong with the fields of a reply that was read; "" where nothing is.

        Args:
            fields: as the parser read them.
            values: what the question was about.
        """
        return ""

    def open_doors(self, *, counted: bool = False) -> Doors:
        """Doors of its own, for use as a library; whoever opens them closes them.

        Args:
            counted: whether what the journal says was paid counts towards the budget.
        """
        from synth.calls.admission import Gate  # noqa: PLC0415 - as above
        from synth.calls.budget import Budget  # noqa: PLC0415
        from synth.calls.door import Door, Doors  # noqa: PLC0415
        from synth.calls.fleet import open_one_or_many  # noqa: PLC0415
        from synth.calls.journal import Journal  # noqa: PLC0415

        teachers = {role: role for role in self.roles()}
        self.check_calls(teachers, f"{self.name}:")
        prices = {role: self._price(role) for role in teachers}
        journal = Journal(Path(self.journal) if self.journal else None)
        spent = journal.totals.usd if counted else 0.0
        budget = Budget(self.budget, spent)
        doors = {
            role: Door(
                open_one_or_many(role, self.settings(role, role), self),
                journal,
                gate=Gate(self.at_once, *self.limits(role)),
                budget=budget,
                price=prices[role],
                patience=self.patience,
                by_slots=self.concurrency is None,
            )
            for role in teachers
        }
        return Doors(doors, journal, budget)

    def _price(self, teacher: str) -> Price:
        """What a teacher costs, where a budget must hold.

        Raises:
            WrongUse: nobody knows, or a reply has no bound.
        """
        from synth.calls.price import FREE, price_of, require_bound  # noqa: PLC0415

        if self.budget is None:
            return FREE
        todo = "Copy the critic's pack and add max_tokens to its sampling."
        where = f"{self.name} with pack {self.pack}"
        require_bound(self.step(teacher).sampling.body, where, todo)
        price = price_of(teacher, self.said_price(teacher))
        if price is not None:
            return price
        todo = (
            'Leave the budget out, or say the price: price="IN,OUT" in dollars per '
            "million tokens."
        )
        raise WrongUse(
            f"{self.name}:budget={self.budget}",
            f"no price of {teacher}",
            "a price",
            todo,
        )
