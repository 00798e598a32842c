"""Keeps the structured reply that the draws of a seed agree on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, ClassVar

from synth.core.errors import require_share
from synth.core.records import Row, Verdict
from synth.core.rows import field_text, row_digest
from synth.filters.base import GroupFilter
from synth.text.words import jaccard_of, plain


@dataclass(frozen=True, kw_only=True)
class Consensus(GroupFilter):
    """Compares the draws' objects by their leaves, keeps the one that shares most with the others,
    if it shares enough.

    Two objects share a leaf where path and value are equal; places in lists play no part.
    Similarity is the Jaccard index of leaves.

    Sees: all draws of one seed. Costs: nothing.

    Args:
        field: the field with the object, or its JSON text.
        least: lowest mean similarity of the kept draw with the others, 0 to 1.

    Reasons:
        not_central: another draw shares more with the rest.
        no_agreement: even the best draw shares too little.
        no_object: no object could be read (unknown).

    Marks: `agreement` (0 to 1).

    Example:
        >>> rows = [{"question": "q", "json": {"a": 1, "b": b}} for b in (2, 2, 3)]
        >>> kept, dropped = Consensus().split(rows)
        >>> kept[0]["json"], kept[0]["marks"]["consensus"]["agreement"]
        ({'a': 1, 'b': 2}, 0.6667)
    """

    field: str = "json"
    least: float = 0.5

    reasons: ClassVar[dict[str, str]] = {
        "not_central": "another draw shares more",
        "no_agreement": "even the best shares too little",
        "no_object": "no object",
    }

    def __post_init__(self) -> None:
        require_share("least", self.least)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        sets = [self._leaves(row) for row in rows]
        readable = [
            index for index, leaves in enumerate(sets) if leaves is not None
        ]
        agreement = {}
        for draw in readable:
            others = [
                jaccard_of(sets[draw] or set(), sets[other] or set())
                for other in readable
                if other != draw
            ]
            agreement[draw] = self._mean(others)
        digests = [row_digest(row) for row in rows]
        best = max(
            readable,
            key=lambda index: (agreement[index], digests[index]),
            default=None,
        )
        made = []
        for index in range(len(rows)):
            if index not in agreement:
                made.append(Verdict(None, "no_object"))
                continue
            reason = "not_central"
            if index == best:
                enough = agreement[index] >= self.least
                reason = "" if enough else "no_agreement"
            made.append(
                Verdict(
                    not reason,
                    reason,
                    {"agreement": round(agreement[index], 4)},
                )
            )
        return made

    @staticmethod
    def _mean(values: list[float]) -> float:
        # The exact sum, whatever the order of the draws: nearly equal ones must not change places.
        return fsum(values) / len(values) if values else 1.0

    def _leaves(self, row: Row) -> set[str] | None:
        value = row.get(self.field)
        try:
            value = (
                json.loads(field_text(row, self.field))
                if not isinstance(value, dict | list)
                else value
            )
        except ValueError:
            return None
        return set(_walk("", value)) if isinstance(value, dict | list) else None


def _walk(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(f"{path}[]", inner)
    else:
        yield f"{path}={plain(value)}"
