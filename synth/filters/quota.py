"""Keeps so many rows of each kind."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import rank_of, row_digest
from synth.filters.base import StreamedFilter


@dataclass(frozen=True, kw_only=True)
class Quota(StreamedFilter):
    """At most so many rows of each value of a field; the best where a number ranks them, else a
    choice that order cannot change.

    Sees: all rows. Costs: nothing.

    Args:
        field: the field whose values are the kinds, such as a topic, a relation or a length class.
        most: rows of each kind; None where a percentile says it.
        percentile: 0 to 100: as many rows of each kind as this share of the kinds, in percent, has
            at most; at least one (DPO-ST, arXiv:2407.18248, caps questions at 90).
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
    most: int | None = None
    percentile: float | None = None
    by: str | None = None

    reasons: ClassVar[dict[str, str]] = {
        "over_quota": "enough rows of its kind are kept"
    }

    def __post_init__(self) -> None:
        caps = f"most={self.most}, percentile={self.percentile}"
        most = self.most
        share = self.percentile
        if (most is None) == (share is None):
            raise ValueError(f"{caps}; give one of them")
        if most is not None and most < 1:
            raise ValueError(f"{caps}; keep at least one row of each kind")
        if share is not None and not 0 <= share <= 100:
            raise ValueError(f"{caps}; give a percentile from 0 to 100")

    def needs(self) -> tuple[str, ...]:
        """The kind and the rank."""
        return (self.field, self.by) if self.by else (self.field,)

    def judge_corpus(self, rows: Collection[Row]) -> Iterator[Verdict]:
        """One verdict a row, in their order; see the base."""
        import numpy as np  # noqa: PLC0415 - for those who need it

        kinds: dict[str, int] = {}
        numbers = array("q")
        worths = array("d")
        digests = bytearray()
        for row in rows:
            kind = str(row.get(self.field))
            numbers.append(kinds.setdefault(kind, len(kinds)))
            worth = 0.0
            if self.by:
                worth = rank_of(row, self.by, self.name)
            worths.append(worth)
            digest = row_digest(row)
            digests += digest[:8]
        kind_of_row = np.frombuffer(numbers, np.int64)
        worth_of_row = np.frombuffer(worths, np.float64)
        digest_of_row = np.frombuffer(digests, ">u8")
        # The last key counts first; a sort that is stable leaves equal ones by their places.
        order = np.lexsort((digest_of_row, -worth_of_row, kind_of_row))
        sizes = np.bincount(kind_of_row, minlength=len(kinds))
        most = self.most
        share = self.percentile
        if share is not None and len(sizes):
            size = np.percentile(sizes, share)
            most = max(1, int(size))
        firsts = np.cumsum(sizes)
        firsts -= sizes
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(1, len(order) + 1)
        ranks -= firsts[kind_of_row]
        names = list(kinds)
        for number, rank in zip(numbers, ranks.tolist(), strict=True):
            keep = most is None or rank <= most
            marks = {"kind": names[number], "rank": rank}
            reason = ""
            if not keep:
                reason = "over_quota"
            yield Verdict(keep, reason, marks)
