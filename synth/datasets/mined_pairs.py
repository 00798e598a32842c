"""Pairs of sentences that mean the same, mined among the draws of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, permutations
from typing import Any

from synth.datasets._folder import RunFolder
from synth.datasets.base import Export
from synth.filters.near_duplicate import numbers_of
from synth.measures import entailment
from synth.overlap import rouge_l
from synth.packs import Pack


@dataclass(frozen=True, kw_only=True)
class MinedPairs(Export):
    """One row `{id, prompt, completion, rouge_l}` per ordered pair of draws of a seed that passes all filters.

    Impossible Distillation (arXiv:2305.16635), one round: length ratio, numbers equal in both directions, ROUGE-L not too large, and
    mutual entailment where an inference model is given; of a text's partners the least similar one is taken.

    Args:
        field: the field with the text.
        shortest: least ratio of lengths in characters.
        longest: largest ratio.
        most_alike: largest ROUGE-L (F measure over words, 0 to 1).
        nli: a natural language inference model; None for none.
        least: least probability of entailment in each direction.
    """

    field: str = "answer"
    shortest: float = 0.8
    longest: float = 1.5
    most_alike: float = 0.75
    nli: str | None = None
    least: float = 0.75

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Training rows, in the order of the run: at most one a text."""
        for seed, rows in groupby(run.rows(), key=lambda row: row["id"]):
            texts = list(dict.fromkeys(str(row[self.field]) for row in rows))
            for text in texts:
                partners = [(rouge_l(a, b), b) for a, b in permutations(texts, 2) if a == text and self.fits(a, b)]
                if partners:
                    score, other = min(partners)
                    yield {"id": seed, "prompt": text, "completion": other, "rouge_l": round(score, 4)}

    def fits(self, source: str, target: str) -> bool:
        """Whether two texts may be a pair."""
        ratio = len(target) / max(1, len(source))
        alike = self.shortest <= ratio <= self.longest and numbers_of(source) == numbers_of(target)
        if not alike or rouge_l(source, target) > self.most_alike:
            return False
        return self.nli is None or all(yes >= self.least for yes, _ in entailment([(source, target), (target, source)], self.nli))
