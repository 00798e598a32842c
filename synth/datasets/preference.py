"""Chosen and rejected, for DPO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from synth.datasets._folder import RunFolder
from synth.datasets.base import Export
from synth.packs import Pack
from synth.pairs import WRONG, make_pairs


@dataclass(frozen=True, kw_only=True)
class Preference(Export):
    """Pairs a kept draw of a seed with a dropped draw of the same seed (see `synth.pairs`).

    Args:
        reasons: reason codes of dropped rows that may be rejected.
        per_seed: most pairs of one seed.

    Example row: `{id, prompt, chosen, rejected, reason}`.
    """

    reasons: tuple[str, ...] = WRONG
    per_seed: int = 1

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Training rows, in the order of the kept rows."""
        return make_pairs(run.rows(), run.rows("dropped"), reasons=self.reasons, per_seed=self.per_seed)
