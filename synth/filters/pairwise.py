"""Keeps preference pairs whose better reply a critic prefers in both orders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from synth.core.errors import TeacherError, require_count
from synth.core.records import Row, Verdict
from synth.filters.base_asking import MOST_VOTES, AskingFilter

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.calls.reading import Reading
    from synth.packs.pack import Pack
    from synth.packs.step import Step

_WORTH = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True, kw_only=True)
class Pairwise(AskingFilter):
    """Asks which of two replies is better, in both orders; a win counts only where it holds in
    both, else it is a tie.

    Zheng et al., "Judging LLM-as-a-Judge", arXiv:2306.05685, section 3.4 (conservative swap).

    Sees: one row. Costs: 2 * `votes` calls a row, and one more for each unreadable verdict.

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: a pack with the inputs question, first and second, whose verdict is first, second or
            tie.
        question: the field with the request.
        chosen: the field with the reply that should win.
        rejected: the field with the other one.
        votes: verdicts in each order.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            how it is asked then (`api_base`, `timeout`, `budget`, ...): see `CallOptions` of
            `synth.calls`.

    Reasons:
        prefers_rejected: the other reply wins in both orders.
        tie: neither wins in both orders.
        same_text: both replies are the same; nobody is asked.
        critic_unreadable: an order has no verdict that can be read (unknown).
        critic_failed: no reply came (unknown).

    Marks: `score` (0 to 1: mean over both orders, 1 for the chosen), `orders` (the chosen's score
    as first and as second), `flips`.

    Example:
        >>> part = Pairwise(teacher="openai/gpt-4o")
        >>> part.verdict_of([1.0], [0.0]).reason, part.verdict_of([1.0], [1.0]).keep
        ('tie', True)
    """

    pack: str = "critic_pairwise"
    question: str = "question"
    chosen: str = "chosen"
    rejected: str = "rejected"
    votes: int = 1

    reasons: ClassVar[dict[str, str]] = {
        "prefers_rejected": "the other one wins",
        "tie": "neither wins in both orders",
        "same_text": "both are the same",
        "critic_unreadable": "no verdict that can be read",
        "critic_failed": "no reply came",
    }

    def __post_init__(self) -> None:
        require_count("votes", self.votes, 1, MOST_VOTES)

    def needs(self) -> tuple[str, ...]:
        """The request and both replies."""
        return (self.question, self.chosen, self.rejected)

    def calls(self, draws: int) -> float:
        """Both orders."""
        return 2 * draws * self.votes

    def questions(self, draws: int) -> Sequence[tuple[Step, Pack, float]]:
        """The one question, in both orders."""
        return [(self.step(), self.loaded, self.calls(draws))]

    async def about(self, row: Row, doors: Doors) -> Verdict:
        """Asks in both orders."""
        question, chosen, rejected = (row.get(name) for name in self.needs())
        if chosen == rejected:
            return Verdict(False, "same_text")
        orders = [
            {"question": question, "first": chosen, "second": rejected},
            {"question": question, "first": rejected, "second": chosen},
        ]
        try:
            readings = await asyncio.gather(
                *(
                    self.ask(
                        self.values(order),
                        doors,
                        draw=vote,
                        again=self.votes,
                    )
                    for order in orders
                    for vote in range(self.votes)
                )
            )
        except TeacherError as error:
            return Verdict(None, "critic_failed", {"failure": error.kind})
        as_first = _worth(readings[: self.votes])
        as_second = [1 - worth for worth in _worth(readings[self.votes :])]
        if not as_first or not as_second:
            return Verdict(
                None,
                "critic_unreadable",
                {"reply": readings[0].completion.text[:200]},
            )
        return self.verdict_of(as_first, as_second)

    @staticmethod
    def verdict_of(
        as_first: Sequence[float], as_second: Sequence[float]
    ) -> Verdict:
        """The verdict for the chosen reply's scores (0 to 1) where it stood first and where it
        stood second.
        """
        orders = [sum(scores) / len(scores) for scores in (as_first, as_second)]
        wins = all(score > 0.5 for score in orders)
        loses = all(score < 0.5 for score in orders)
        flips = min(orders) < 0.5 < max(orders)
        marks = {
            "score": round(sum(orders) / 2, 4),
            "orders": [round(score, 4) for score in orders],
            "flips": flips,
        }
        reason = ""
        if not wins:
            reason = "prefers_rejected" if loses else "tie"
        return Verdict(wins, reason, marks)


def _worth(readings: Sequence[Reading]) -> list[float]:
    return [
        _WORTH[str(reading.fields["verdict"])]
        for reading in readings
        if not reading.unreadable
    ]
