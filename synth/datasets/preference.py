"""Chosen and rejected, for DPO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from synth.datasets._folder import RunFolder
from synth.datasets.base import Export
from synth.packs import Pack
from synth.pairs import WRONG, make_pairs, over


@dataclass(frozen=True, kw_only=True)
class Preference(Export):
    """Pairs a kept draw of a seed with a dropped draw of the same seed, or with a draw of another run (see `synth.pairs`).

    Args:
        reasons: reason codes of dropped rows that may be rejected.
        per_seed: most pairs of one seed.
        order: which pairs of a seed come first: `diagonal`, or `unlike` (the least shared words).
        other: folder of a run of the same seeds by another teacher, such as the student: its rows are rejected instead, where their
            answer is another one.

    Example row: `{id, prompt, chosen, rejected, reason}`.
    """

    reasons: tuple[str, ...] = WRONG
    per_seed: int = 1
    order: Literal["diagonal", "unlike"] = "diagonal"
    other: str | None = None

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Training rows, in the order of the kept rows."""
        if self.other is None:
            return make_pairs(run.rows(), run.rows("dropped"), reasons=self.reasons, per_seed=self.per_seed, order=self.order)
        worse = RunFolder(self.other)
        return over(run.rows(), chain(worse.rows(), worse.rows("dropped")), per_seed=self.per_seed)
