"""Chosen and rejected, for DPO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

from synth.core.records import Fields
from synth.exports.base import Export
from synth.packs.pack import Pack
from synth.runs.marks import mark, split_name
from synth.runs.pairing import WRONG, by_score, make_pairs, over, why_no_pair
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Preference(Export):
    """Pairs a kept draw of a seed with a dropped draw of the same seed, or with a draw of another
    run (see `synth.runs.pairing`).

    Args:
        reasons: reason codes of dropped rows that may be rejected.
        per_seed: most pairs of one seed.
        order: which pairs of a seed come first: `diagonal`, or `unlike` (the least shared words).
        other: folder of a run of the same seeds by another teacher, such as the student: its rows
            are rejected instead, where their answer is another one.
        by: FILTER.MARK, such as `critic.score`, or row.FIELD, such as `row.overall`: pairs all
            draws, kept or dropped, by that number instead; its difference is the `margin`.
        least: smallest margin of such a pair, above 0.

    Example row: `{id, prompt, chosen, rejected, reason}`, with `by` also `margin`.
    """

    reasons: tuple[str, ...] = WRONG
    per_seed: int = 1
    order: Literal["diagonal", "unlike"] = "diagonal"
    other: str | None = None
    by: str | None = None
    least: float = 0.1

    counts: ClassVar[Mapping[str, int]] = {"per_seed": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by is not None:
            split_name(self.by)
            if self.other is not None or not self.least > 0:
                raise ValueError(
                    f"by={self.by!r}, other={self.other!r}, least={self.least}; use by without "
                    "other, and least above 0"
                )

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:  # noqa: ARG002
        """Training rows, in the order of the kept rows."""
        if self.by is not None:
            name = split_name(self.by)
            scored = (
                (row, mark(row, name))
                for row in chain(run.rows(), run.rows("dropped"))
            )
            return by_score(
                ((row, score) for row, score in scored if score is not None),
                least=self.least,
                per_seed=self.per_seed,
            )
        if self.other is None:
            return make_pairs(
                run.rows(),
                run.rows("dropped"),
                reasons=self.reasons,
                per_seed=self.per_seed,
                order=self.order,
            )
        worse = RunFolder(self.other)
        return over(
            run.rows(),
            chain(worse.rows(), worse.rows("dropped")),
            per_seed=self.per_seed,
        )

    def why_none(self, run: RunFolder) -> str:
        """Which rows make no pair, and what to do."""
        if self.by is not None:
            name = split_name(self.by)
            rows = chain(run.rows(), run.rows("dropped"))
            scored = sum(mark(row, name) is not None for row in rows)
            return (
                f"{scored:,} draws have {self.by}, and no two of one seed are {self.least} apart. "
                "Run with more --draws, or name another number"
            )
        if self.other is not None:
            return f"no kept row has another answer than a row of its seed in {self.other}"
        found, todo = why_no_pair(run.rows("dropped"), self.reasons)
        return f"{found}. {todo}"
