"""Pairs of sentences that mean the same, mined among the draws of a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, permutations
from typing import Any

from synth.exports.base import Export
from synth.filters.near_duplicate import numbers_of
from synth.local_models.scores import entailment
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from synth.text.words import rouge_l


@dataclass(frozen=True, kw_only=True)
class MinedPairs(Export):
    """One row `{id, prompt, completion, rouge_l}` per ordered pair of draws of a seed that passes
    all filters.

    Impossible Distillation (arXiv:2305.16635), one round: length ratio, numbers equal in both
    directions, ROUGE-L not too large, and mutual entailment where an inference model is given; of a
    text's partners the least similar one is taken.

    Args:
        field: the field with the text.
        shortest: least ratio of lengths in characters.
        longest: largest ratio.
        most_alike: largest ROUGE-L (F measure over words, 0 to 1).
        nli: a natural language inference model; None for none.
        least: least probability of entailment in each direction.
        dedup: with `nli`, of sources that entail each other, in chains too, one pair is kept, and
            so of targets: the one of the surest entailment, as the paper has it (its code keeps the
            least sure one).
    """

    field: str = "answer"
    shortest: float = 0.8
    longest: float = 1.5
    most_alike: float = 0.75
    nli: str | None = None
    least: float = 0.75
    dedup: bool = True

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Training rows, in the order of the run: at most one a text."""
        for seed, rows in groupby(run.rows(), key=lambda row: row["id"]):
            for score, text, other in self.distinct(
                list(
                    self.pairs(
                        list(
                            dict.fromkeys(str(row[self.field]) for row in rows)
                        )
                    )
                )
            ):
                yield {
                    "id": seed,
                    "prompt": text,
                    "completion": other,
                    "rouge_l": round(score, 4),
                }

    def pairs(self, texts: list[str]) -> Iterator[tuple[float, str, str]]:
        """(ROUGE-L, text, its least similar partner) of each text that has one."""
        for text in texts:
            partners = [
                (rouge_l(a, b), b)
                for a, b in permutations(texts, 2)
                if a == text and self.fits(a, b)
            ]
            if partners:
                yield min(partners)[0], text, min(partners)[1]

    def distinct(
        self, pairs: list[tuple[float, str, str]]
    ) -> list[tuple[float, str, str]]:
        """One pair a component of the graph of mutual entailment, of sources first, then of
        targets.
        """
        if not self.dedup or self.nli is None or len(pairs) < 2:
            return pairs
        both_texts = [(source, target) for _, source, target in pairs]
        shares = entailment(both_texts, self.nli)
        sure = {pair: yes for pair, (yes, _) in zip(pairs, shares, strict=True)}
        for side in (0, 1):
            sides = {pair: (pair[1], pair[2])[side] for pair in pairs}
            texts = list(dict.fromkeys(sides.values()))
            component = components(texts, self._same(texts))
            best = {
                component[sides[pair]]: pair
                for pair in sorted(pairs, key=lambda pair: sure[pair])
            }
            pairs = [pair for pair in pairs if pair in best.values()]
        return pairs

    def _same(self, texts: list[str]) -> list[tuple[str, str]]:
        """Pairs of texts that entail each other."""
        asked = list(combinations(texts, 2))
        both = (
            entailment(
                [pair for a, b in asked for pair in ((a, b), (b, a))],
                str(self.nli),
            )
            if asked
            else []
        )
        return [
            pair
            for n, pair in enumerate(asked)
            if min(both[2 * n][0], both[2 * n + 1][0]) >= self.least
        ]

    def fits(self, source: str, target: str) -> bool:
        """Whether two texts may be a pair."""
        ratio = len(target) / max(1, len(source))
        alike = self.shortest <= ratio <= self.longest and numbers_of(
            source
        ) == numbers_of(target)
        if not alike or rouge_l(source, target) > self.most_alike:
            return False
        return self.nli is None or all(
            yes >= self.least
            for yes, _ in entailment(
                [(source, target), (target, source)], self.nli
            )
        )


def components(
    texts: Sequence[str], edges: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """Each text's component of a graph, by the first text in it.

    >>> components("abcd", [("a", "c"), ("c", "d")])
    {'a': 'a', 'b': 'b', 'c': 'a', 'd': 'a'}
    """
    roots = {text: text for text in texts}
    for one, two in edges:
        low, high = sorted((roots[one], roots[two]), key=list(texts).index)
        roots = {
            text: low if root == high else root for text, root in roots.items()
        }
    return roots
