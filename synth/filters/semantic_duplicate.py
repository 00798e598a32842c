"""Drops rows that mean what a kept row means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.core.records import Row, Verdict
from synth.filters.base import CorpusFilter
from synth.filters.near_duplicate import by_length, numbers_of
from synth.local_models.minilm import MINILM
from synth.local_models.scores import entailment, vectors

if TYPE_CHECKING:
    from synth.local_models.scores import Vectors

# Texts compared with all kept ones at once: 2,048 x 100,000 cosines are 800 MB.
_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class SemanticDuplicate(CorpusFilter):
    """Cosine of sentence vectors, all pairs exactly; where an NLI model is given, a pair counts
    only when each entails the other.

    After SemDeDup (Abbas et al., arXiv:2303.09540) without its clusters, and the entailment graphs
    of Impossible Distillation (Jung et al., arXiv:2305.16635) without chains: every dropped row is
    close to a row that is kept, the longest first.

    Sees: all rows. Costs: nothing but time: 400 short texts a second on two cores for the vectors;
    n * n / 2 cosines.

    Args:
        field: the text that is compared; the row's raw reply where it lacks the field.
        similarity: least cosine (-1 to 1) of a duplicate.
        embedding: a folder or a name of the hub, or `hashing`.
        nli: a natural language inference model that must find each pair mutual; None for cosines
            alone.
        least: least probability of entailment in each direction (0 to 1).
        numbers: `apart` keeps texts with other numbers; `alike` does not look.

    Reasons:
        semantic_duplicate: a kept row means the same.

    Marks: `of` (place of the kept row among the rows), `similarity`.

    Example:
        >>> starts = ("Who lives", "who lives", "How many rooms are")
        >>> rows = [
        ...     {"question": f"{start} in the old red house of my aunt Ann?"} for start in starts
        ... ]
        >>> kept, dropped = SemanticDuplicate(embedding="hashing").split(rows)
        >>> len(kept), dropped[0]["reason"]
        (2, 'semantic_duplicate')
    """

    similarity: float = 0.95
    embedding: str = MINILM
    nli: str | None = None
    least: float = 0.75
    numbers: Literal["apart", "alike"] = "apart"

    reasons: ClassVar[dict[str, str]] = {
        "semantic_duplicate": "a kept row means the same"
    }

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        texts = [self.text(row, self.field) for row in rows]
        keys = [
            numbers_of(text) if self.numbers == "apart" else ()
            for text in texts
        ]
        kept_indices: set[int] = set()
        verdicts = [Verdict(True)] * len(rows)
        for index, close in near(
            vectors(texts, self.embedding), by_length(texts), self.similarity
        ):
            twin = next(
                (
                    (o, s)
                    for o, s in close
                    if o in kept_indices
                    and keys[o] == keys[index]
                    and self._mutual(texts[o], texts[index])
                ),
                None,
            )
            if twin is None or not texts[index]:
                kept_indices.add(index)
            else:
                verdicts[index] = Verdict(
                    False,
                    "semantic_duplicate",
                    {"of": twin[0], "similarity": round(twin[1], 4)},
                )
        return verdicts

    def _mutual(self, left: str, right: str) -> bool:
        return self.nli is None or all(
            yes >= self.least
            for yes, _ in entailment([(left, right), (right, left)], self.nli)
        )


def near(
    table: Vectors, order: Sequence[int], similarity: float
) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """(place, [(an earlier place in the order, cosine), ...]) for each place; pairs of at least the
    similarity, the closest first.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    sorted_table = table[list(order)]
    for start in range(0, len(order), _BLOCK):
        block = sorted_table[start : start + _BLOCK]
        cosines = block @ sorted_table[: start + len(block)].T
        for row in range(len(block)):
            similar = np.flatnonzero(
                cosines[row, : start + row] >= similarity - 1e-6
            )
            close = sorted(
                ((order[int(n)], float(cosines[row, n])) for n in similar),
                key=lambda pair: (-pair[1], pair[0]),
            )
            yield order[start + row], close
