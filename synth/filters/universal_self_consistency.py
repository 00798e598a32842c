"""Keeps the draw that agrees best with the others, where answers cannot be compared by value."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from synth.core.errors import TeacherError, require_count
from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base_asking import MOST_VOTES, AskingFilter
from synth.filters.process_critic import number_of, out_of_range

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs.pack import Pack
    from synth.packs.step import Step


@dataclass(frozen=True, kw_only=True)
class UniversalSelfConsistency(AskingFilter):
    """Shows a teacher all draws of a seed and asks which agrees best with the rest (Chen et al.,
    arXiv:2311.17311).

    Models favour places in a list: the draws are shown in several orders, each at another place,
    and the draw chosen most often is kept, and any of the same words.

    Sees: all draws of one seed. Costs: `orders` calls a seed, and one more for each unreadable
    choice.

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: a pack with the inputs question and candidates, which says the number of one.
        field: the text that is shown; the raw reply where a row lacks it.
        orders: how many orders.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            how it is asked then (`api_base`, `timeout`, `budget`, ...): see `CallOptions` of
            `synth.calls`.

    Reasons:
        not_chosen: another draw was chosen.
        no_choice: no draw was chosen most often, or none could be read (unknown).
        critic_failed: no reply came (unknown).

    Marks: `chosen` (in how many orders this draw was), `orders` (how many could be read).

    Example:
        >>> UniversalSelfConsistency(teacher="openai/gpt-4o", orders=3).questions(draws=8)[0][2]
        3
    """

    pack: str = "judge_consistent"
    field: str = "rationale"
    orders: int = 2

    group: ClassVar[str | None] = "draws"
    reasons: ClassVar[dict[str, str]] = {
        "not_chosen": "another draw was",
        "no_choice": "no draw was chosen most often",
        "critic_failed": "no reply came",
    }

    def __post_init__(self) -> None:
        require_count("orders", self.orders, 1, MOST_VOTES)

    def needs(self) -> tuple[str, ...]:
        """The question."""
        return ("question",)

    def calls(self, draws: int) -> float:
        """One call an order, however many draws."""
        return self.orders if draws > 1 else 0

    def questions(self, draws: int) -> Sequence[tuple[Step, Pack, float]]:
        """One call an order."""
        return [(self.step(), self.loaded, self.calls(draws))]

    async def about(self, row: Row, doors: Doors) -> Verdict:
        """A single draw agrees with itself."""
        return (await self.judged([row], doors))[0]

    async def judged(self, rows: Sequence[Row], doors: Doors) -> list[Verdict]:
        """One verdict a draw of one seed."""
        texts = [field_text(row, self.field) for row in rows]
        different = sorted(set(texts))
        if len(different) == 1:
            alone = Verdict(True, "", {"chosen": 0, "orders": 0})
            return [alone] * len(rows)
        question = rows[0].get("question")
        values = [
            self.values({"question": question, "candidates": candidates})
            for candidates in turned(different, self.orders)
        ]
        try:
            readings = await asyncio.gather(
                *(self.ask(shown, doors) for shown in values)
            )
        except TeacherError as error:
            failed = Verdict(None, "critic_failed", {"failure": error.kind})
            return [failed] * len(rows)
        chosen: Counter[str] = Counter()
        for shown, reading in zip(values, readings, strict=True):
            if not reading.unreadable:
                # Candidates are numbered from 1.
                number = number_of(reading, "choice") or 0
                chosen[shown["candidates"][number - 1]] += 1
        return self._verdicts(texts, chosen)

    def _verdicts(
        self, texts: Sequence[str], chosen: Counter[str]
    ) -> list[Verdict]:
        ranked = [*chosen.most_common(2), ("", 0), ("", 0)]
        best, most = ranked[0]
        _, second_most = ranked[1]
        orders = chosen.total()
        verdicts = []
        for text in texts:
            marks = {"chosen": chosen[text], "orders": orders}
            if most == second_most:
                verdict = Verdict(None, "no_choice", marks)
            elif text == best:
                verdict = Verdict(True, "", marks)
            else:
                verdict = Verdict(False, "not_chosen", marks)
            verdicts.append(verdict)
        return verdicts

    def fault(self, fields: Row, values: Row) -> str:
        """A number that names no candidate."""
        return out_of_range(fields, "choice", 1, len(values["candidates"]))


def turned(texts: Sequence[str], times: int) -> list[list[str]]:
    """Several orders of texts, in which each stands at another place: a shuffle that depends on the
    texts alone, turned on.

    >>> first, second = turned(["a", "b", "c", "d"], 2)
    >>> first == second[2:] + second[:2], sorted(first)
    (True, ['a', 'b', 'c', 'd'])
    """
    rng = random.Random("\n".join(texts))
    base = rng.sample(list(texts), len(texts))
    cuts = [order * len(base) // times for order in range(times)]
    return [base[cut:] + base[:cut] for cut in cuts]
