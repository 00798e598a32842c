"""Anchors with a positive and hard negatives, for retrievers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.records import Fields
from synth.exports.base import Export
from synth.exports.base_retrieval import listings
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Triplets(Export):
    """One row `{id, anchor, positive, negatives, how}` per text that answers a query;
    sentence-transformers reads it flat.

    Args:
        negatives: most texts that do not answer; 0 for pairs alone.
        pick: which of them: `bottom`, the worst graded (Gecko, arXiv:2403.20327, section 4.2), or
            `top`, those that come nearest.
        flat: writes `negative_1`, `negative_2`, ... in the place of the list; rows with fewer than
            the most are left out.
        turned: the text is the anchor and the query its positive, without negatives.

    `how` says of the positive and of each negative how it was found.
    """

    negatives: int = 8
    pick: Literal["bottom", "top"] = "bottom"
    flat: bool = False
    turned: bool = False

    counts: ClassVar[Mapping[str, int]] = {"negatives": 0}

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        for listing in listings(run, pack, "--to triplets"):
            right, wrong = listing.sides()
            chosen = (wrong if self.pick == "bottom" else wrong[::-1])[
                : self.negatives
            ]
            for positive in right:
                row: Fields = {
                    "id": listing.id,
                    "anchor": listing.query,
                    "positive": positive.text,
                }
                row |= {"group": listing.group} if listing.group else {}
                if self.turned:
                    yield {
                        **row,
                        "anchor": positive.text,
                        "positive": listing.query,
                        "how": [positive.how],
                    }
                    continue
                how = [document.how for document in (positive, *chosen)]
                texts = [document.text for document in chosen]
                if not self.flat:
                    yield {**row, "negatives": texts, "how": how}
                elif len(texts) == self.negatives:
                    yield {
                        **row,
                        **{
                            f"negative_{number}": text
                            for number, text in enumerate(texts, 1)
                        },
                        "how": how,
                    }
