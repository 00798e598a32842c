"""Keeps so many rows of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict, group_by
from synth.core.rows import rank_of, row_digest
from synth.filters.base import CorpusFilter


@dataclass(frozen=True, kw_only=True)
class Quota(CorpusFilter):
    """At most so many rows of each value of a field; the best where a number ranks them, else a
    choice that order cannot change.

    Sees: all rows. Costs: nothing.

    Args:
        field: the field whose values are the kinds, such as a topic, a relation or a length class.
        most: rows of each kind.
        by: the field with the number (higher is better) that ranks rows; None ranks them by their
            digest.

    Reasons:
        over_quota: enough rows of its kind are kept.

    Marks: `kind`, `rank` (1 is the first).

    Example:
        >>> rows = [{"topic": "rain", "score": n} for n in range(3)] + [
        ...     {"topic": "snow", "score": 0}
        ... ]
        >>> kept, dropped = Quota(field="topic", most=1, by="score").split(rows)
        >>> [(row["topic"], row["score"]) for row in kept]
        [('rain', 2), ('snow', 0)]
    """

    field: str
    most: int
    by: str | None = None

    reasons: ClassVar[dict[str, str]] = {
        "over_quota": "enough rows of its kind are kept"
    }

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(
                f"most={self.most}; keep at least one row of each kind"
            )

    def needs(self) -> tuple[str, ...]:
        """The kind and the rank."""
        return (self.field, self.by) if self.by else (self.field,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        verdicts = [Verdict(True)] * len(rows)
        for kind, places in group_by(
            range(len(rows)), lambda p: str(rows[p].get(self.field))
        ).items():
            for rank, index in enumerate(
                sorted(places, key=lambda p: (self._rank(rows[p]), p)), 1
            ):
                keep = rank <= self.most
                verdicts[index] = Verdict(
                    keep,
                    "" if keep else "over_quota",
                    {"kind": kind, "rank": rank},
                )
        return verdicts

    def _rank(self, row: Row) -> tuple[float, bytes]:
        best = -rank_of(row, self.by, self.name) if self.by else 0.0
        return best, row_digest(row)
