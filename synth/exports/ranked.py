"""Queries with graded lists of texts, for rankers and list losses."""

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
class Ranked(Export):
    """One row `{id, query, documents, scores, how}` per query with two texts or more, the best
    first.

    Args:
        least: fewer texts leave a query out.
    """

    least: int = 2

    counts: ClassVar[Mapping[str, int]] = {"least": 1}

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        for listing in listings(run, pack, "--to ranked"):
            order = sorted(
                listing.documents, key=lambda document: -document.grade
            )
            if len(order) >= self.least:
                columns = {
                    "documents": [d.text for d in order],
                    "scores": [d.grade for d in order],
                    "how": [d.how for d in order],
                }
                yield {
                    "id": listing.id,
                    "query": listing.query,
                    **({"group": listing.group} if listing.group else {}),
                    **columns,
                }
