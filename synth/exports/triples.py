"""Knowledge as (head, relation, tail), split by head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.records import Fields, hash_share
from synth.exports.base import Export, spec_of
from synth.exports.base_retrieval import elements
from synth.packs.pack import Pack
from synth.packs.templates import NOTHING
from synth.runs.publisher import RunFolder
from synth.text.words import folded


@dataclass(frozen=True, kw_only=True)
class Triples(Export):
    """One row `{id, head, relation, tail, split, source}` per statement of a kept row, each once.

    Args:
        held_out: shares of the heads that go into `validation` and into `test`: all rows of a head
            share one split (West et al., arXiv:2110.07178), by a hash of the head, whatever else
            the run holds.
    """

    held_out: tuple[float, float] = (0.1, 0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.held_out) < 0 or not sum(self.held_out) < 1:
            raise ValueError(
                f"held_out {list(self.held_out)}; shares that leave some for train"
            )

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run.

        Raises:
            WrongUse: the pack has no `triples` export.
        """
        spec = spec_of(pack, "triples", "--to triples")
        sides = pack.exports["triples"]["triples"]
        seen = set[tuple[str, ...]]()
        for row in run.rows():
            values = pack.values(row)
            for element in elements(values, spec.each):
                rendered = {
                    side: template.render({**values, **element}).strip()
                    for side, template in sides.items()
                }
                triple = (
                    rendered["head"],
                    rendered["relation"],
                    rendered["tail"],
                )
                if (
                    all(triple)
                    and rendered["when"] not in NOTHING
                    and triple not in seen
                ):
                    seen.add(triple)
                    named = dict(
                        zip(("head", "relation", "tail"), triple, strict=True)
                    )
                    yield {
                        "id": row["id"],
                        **named,
                        "split": self.split(triple[0]),
                        "source": row["meta"]["teacher"],
                    }

    def split(self, head: str) -> str:
        """The split of a head."""
        share = hash_share(folded(head))
        validation, test = self.held_out
        if share < validation:
            return "validation"
        return "test" if share < validation + test else "train"
