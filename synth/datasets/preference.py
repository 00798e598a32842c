"""Chosen and rejected, for DPO."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from synth.datasets._folder import RunFolder
from synth.datasets.base import Export
from synth.packs import Pack
from synth.verifiers.math_equal import canonical


@dataclass(frozen=True, kw_only=True)
class Preference(Export):
    """Pairs a kept draw of a seed with a dropped draw of the same seed.

    Rejected draws are those that the filters found wrong; replies that no parser read are not preferred
    against. Two texts that are equal, or draws whose answers agree though one was dropped for its answer,
    never make a pair.

    Args:
        reasons: reason codes of dropped rows that may be rejected.
        per_seed: most pairs of one seed.

    Example row: `{id, prompt, chosen, rejected, reason}`.
    """

    reasons: tuple[str, ...] = ("wrong_answer", "wrong_step", "minority_answer", "critic_rejects")
    per_seed: int = 1

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Training rows, in the order of the kept rows."""
        rejected: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in run.rows("dropped"):
            if row["reason"] in self.reasons and row.get("completion"):
                rejected[row["id"]].append({k: row.get(k) for k in ("completion", "reason", "answer")})
        chosen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in run.rows():
            if row["id"] in rejected:
                chosen[row["id"]].append({k: row.get(k) for k in ("prompt", "completion", "answer")})
        for seed, good in chosen.items():
            yield from islice(self._pairs(seed, good, rejected[seed]), self.per_seed)

    @staticmethod
    def _pairs(seed: str, good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for offset, right in product(range(len(bad)), range(len(good))):
            a, b = good[right], bad[(right + offset) % len(bad)]
            same_answer = a["answer"] is not None and canonical(str(a["answer"])) == canonical(str(b["answer"]))
            if a["completion"] != b["completion"] and not (same_answer and b["reason"] in ("wrong_answer", "minority_answer")):
                yield {
                    "id": seed,
                    "prompt": a["prompt"],
                    "chosen": a["completion"],
                    "rejected": b["completion"],
                    "reason": b["reason"],
                }
