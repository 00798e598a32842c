"""Keeps a given number of rows, every domain alike, long chains before short ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict, group_by
from synth.core.rows import field_text, row_digest
from synth.filters.base import CorpusFilter


@dataclass(frozen=True, kw_only=True)
class LongFirst(CorpusFilter):
    """Draws a domain, then a row of it with weight 2^-rank, where rank 0 is the longest chain,
    until `most` are kept.

    The selection of s1 (Muennighoff et al., arXiv:2501.19393, section 2.2), behind the filters of
    quality and difficulty.

    Sees: all rows. Costs: nothing.

    Args:
        field: the column with the domain.
        chain: the field with the chain; the row's raw reply where it lacks the field.
        most: how many rows are kept.
        seed: another seed, another choice among the likely ones.

    Reasons:
        not_drawn: others were.

    Marks: `rank` (of the chain in its domain; 0 is the longest).

    Example:
        >>> rows = [
        ...     {"domain": d, "rationale": "so " * n}
        ...     for d in ("algebra", "geometry")
        ...     for n in (1, 50)
        ... ]
        >>> kept, dropped = LongFirst(most=2).split(rows)
        >>> len(kept), {row["domain"] for row in kept} <= {"algebra", "geometry"}
        (2, True)
    """

    field: str = "domain"
    chain: str = "rationale"
    most: int
    seed: int = 0

    reasons: ClassVar[dict[str, str]] = {"not_drawn": "others were"}

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}; keep at least one row")

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        lengths = [len(field_text(row, self.chain)) for row in rows]
        digests = [row_digest(row) for row in rows]
        shelves = {
            domain: sorted(
                places, key=lambda index: (-lengths[index], digests[index])
            )
            for domain, places in sorted(
                group_by(
                    range(len(rows)),
                    lambda index: str(rows[index].get(self.field)),
                ).items()
            )
        }
        ranks = {
            index: rank
            for places in shelves.values()
            for rank, index in enumerate(places)
        }
        taken = _draw(shelves, ranks, self.most, random.Random(self.seed))
        return [
            Verdict(
                n in taken,
                "" if n in taken else "not_drawn",
                {"rank": ranks[n]},
            )
            for n in range(len(rows))
        ]


def _draw(
    shelves: dict[str, list[int]],
    ranks: dict[int, int],
    most: int,
    rng: random.Random,
) -> set[int]:
    """Places of rows: a domain that has some left, then one of it by 2^-rank."""
    left = {domain: list(places) for domain, places in shelves.items()}
    taken: set[int] = set()
    while left and len(taken) < most:
        domain = rng.choice(sorted(left))
        index = rng.choices(
            left[domain],
            [
                2.0 ** -min(ranks[p] - ranks[left[domain][0]], 60)
                for p in left[domain]
            ],
        )[0]
        left[domain].remove(index)
        taken.add(index)
        if not left[domain]:
            del left[domain]
    return taken
