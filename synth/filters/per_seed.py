"""Keeps at most so many draws of each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.filters.base import GroupFilter


@dataclass(frozen=True, kw_only=True)
class PerSeed(GroupFilter):
    """The first `most` draws that reach this filter stay; put it last.

    Sees: all draws of one seed. Costs: nothing.

    Args:
        most: rows that a seed may bring.

    Reasons:
        over_quota: the seed has brought enough rows.

    Marks: none.

    Example:
        >>> kept, dropped = PerSeed(most=1).split(
        ...     [{"question": "q", "answer": "1"}, {"question": "q", "answer": "1"}]
        ... )
        >>> len(kept), dropped[0]["reason"]
        (1, 'over_quota')
    """

    most: int = 1

    reasons: ClassVar[dict[str, str]] = {
        "over_quota": "the seed has brought enough rows"
    }

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}; use at least 1")

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        return [
            Verdict(i < self.most, "" if i < self.most else "over_quota")
            for i in range(len(rows))
        ]
