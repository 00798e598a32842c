"""Keeps seeds that are neither too easy nor too hard for whoever drew the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.answers.golds import agrees, read_gold
from synth.core.records import Row, Verdict
from synth.filters.base import GroupFilter


@dataclass(frozen=True, kw_only=True)
class PassRate(GroupFilter):
    """Share of a seed's draws with the right answer: draw with the student (`--teacher local/PATH`)
    to learn what is hard for it.

    Sees: all draws of one seed. Costs: nothing beyond the draws.

    Args:
        least: seeds with a smaller share are too hard (0 to 1).
        most: seeds with a larger share are too easy (0 to 1).
        answer: the field with the draw's answer.
        target: the field with the right one.

    Reasons:
        too_hard: fewer draws are right.
        too_easy: more draws are right.
        no_target: the seed has no right answer (unknown).

    Marks: `pass_rate`, `draws`.

    Example:
        >>> rows = [
        ...     {"question": q, "answer": a, "target": "4"}
        ...     for q, a in (("easy", "4"), ("easy", "4"), ("fair", "4"), ("fair", "5"))
        ... ]
        >>> kept, dropped = PassRate(least=0.1, most=0.9).split(rows)
        >>> [row["question"] for row in kept]
        ['fair', 'fair']
    """

    least: float = 0.0
    most: float = 0.99
    answer: str = "answer"
    target: str = "target"

    reasons: ClassVar[dict[str, str]] = {
        "too_hard": "fewer draws are right",
        "too_easy": "more draws are right",
        "no_target": "no right answer is known",
    }

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise ValueError(
                f"least={self.least}, most={self.most}; use shares from 0 to 1, the smaller one "
                "first"
            )

    def needs(self) -> tuple[str, ...]:
        """The answer and the right one."""
        return (self.answer, self.target)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """The same verdict for all draws of a seed."""
        golds = [
            read_gold(row.get(self.target), row.get("choices")) for row in rows
        ]
        if not all(gold.comparable for gold in golds):
            return [Verdict(None, "no_target")] * len(rows)
        right = [
            row.get(self.answer) is not None
            and agrees(row[self.answer], gold, row.get("choices")) is True
            for row, gold in zip(rows, golds, strict=True)
        ]
        rate = sum(right) / len(right)
        reason = ""
        if rate < self.least:
            reason = "too_hard"
        elif rate > self.most:
            reason = "too_easy"
        return [
            Verdict(
                not reason,
                reason,
                {"pass_rate": round(rate, 4), "draws": len(rows)},
            )
        ] * len(rows)
