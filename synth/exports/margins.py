"""Pairs of texts with the difference of their grades, for Margin-MSE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Fields
from synth.exports.base import Export
from synth.exports.base_retrieval import listings
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Margins(Export):
    """One row `{id, anchor, positive, negative, label}` per two texts of a query whose grades
    differ (arXiv:2010.02666).

    Args:
        least: smallest difference of the grades.
        most: most rows a query, the largest differences first.
    """

    least: float = 1e-9
    most: int = 16

    counts: ClassVar[Mapping[str, int]] = {"most": 1}

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        for listing in listings(run, pack, "--to margins"):
            pairs = [
                (a.grade - b.grade, a.text, b.text)
                for a in listing.documents
                for b in listing.documents
            ]
            for label, better, worse in sorted(
                (p for p in pairs if p[0] >= self.least),
                key=lambda pair: -pair[0],
            )[: self.most]:
                yield {
                    "id": listing.id,
                    "anchor": listing.query,
                    "positive": better,
                    "negative": worse,
                    "label": round(label, 6),
                }
