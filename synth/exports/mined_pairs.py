"""Pairs of sentences that mean the same, mined among the draws of a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations, groupby
from operator import itemgetter

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Fields, Row
from synth.exports.base import Export
from synth.filters.paraphrase import PairRule, Paraphrase
from synth.local_models.scores import entailment
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from synth.text.words import rouge_l

# ROUGE-L, source, target.
Pair = tuple[float, str, str]


@dataclass(frozen=True, kw_only=True)
class MinedPairs(PairRule, Export):
    """One row `{id, prompt, completion, rouge_l}` per ordered pair of draws of a seed that the
    filter `paraphrase` keeps.

    Impossible Distillation (arXiv:2305.16635), one round: of a text's partners the least similar
    one is taken.

    Args:
        field: the field with the text.
        dedup: with `nli`, of sources that entail each other, in chains too, one pair is kept, and
            so of targets: the one of the surest entailment, as the paper has it (its code keeps the
            least sure one).
    """

    field: str = "answer"
    dedup: bool = True

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:  # noqa: ARG002
        """Training rows, in the order of the run: at most one a text.

        Raises:
            WrongUse: a row has no text in the field.
        """
        for seed, rows in groupby(run.rows(), key=itemgetter("id")):
            texts = map(self._text, rows)
            different = list(dict.fromkeys(texts))
            pairs = list(self.pairs(different))
            for score, source, target in self.distinct(pairs):
                yield {
                    "id": seed,
                    "prompt": source,
                    "completion": target,
                    "rouge_l": round(score, 4),
                }

    def _text(self, row: Row) -> str:
        """The text of a row."""
        value = row.get(self.field)
        if isinstance(value, str):
            return value
        texts = [name for name in row if isinstance(row[name], str)]
        got = "no such field"
        if self.field in row:
            got = f"a {type(value).__name__}"
        raise WrongUse(
            f"--to mined_pairs:field={self.field}, row {row['id']}",
            got,
            "a field of text",
            did_you_mean(self.field, texts),
        )

    def pairs(self, texts: list[str]) -> Iterator[Pair]:
        """(ROUGE-L, text, its least similar partner) of each text that has one."""
        for text in texts:
            others = []
            rows = []
            for other in texts:
                if other != text:
                    others.append(other)
                    rows.append({"source": text, "target": other})
            verdicts = self._rule.judge_group(rows)
            partners = []
            for other, verdict in zip(others, verdicts, strict=True):
                if verdict.keep:
                    score = rouge_l(text, other)
                    partners.append((score, text, other))
            if partners:
                yield min(partners)

    def distinct(self, pairs: list[Pair]) -> list[Pair]:
        """One pair a component of the graph of mutual entailment, of sources first, then of
        targets.
        """
        if not self.dedup or self.nli is None or len(pairs) < 2:
            return pairs
        texts_of_pairs = [pair[1:] for pair in pairs]
        results = entailment(texts_of_pairs, self.nli)
        chances = [yes for yes, _ in results]
        sure = dict(zip(pairs, chances, strict=True))
        for side in (0, 1):
            text_of = {pair: pair[1:][side] for pair in pairs}
            texts = list(dict.fromkeys(text_of.values()))
            component = components(texts, self._same(texts))
            # The surest pair of a component comes last and stays.
            best = {}
            for pair in sorted(pairs, key=sure.__getitem__):
                text = text_of[pair]
                best[component[text]] = pair
            chosen = set(best.values())
            pairs = [pair for pair in pairs if pair in chosen]
        return pairs

    def _same(self, texts: list[str]) -> list[tuple[str, str]]:
        """Pairs of texts that entail each other."""
        same = []
        pairs = list(combinations(texts, 2))
        both_ways = []
        for source, target in pairs:
            both_ways.append((source, target))
            both_ways.append((target, source))
        results = entailment(both_ways, str(self.nli)) if pairs else []
        chances = [yes for yes, _ in results]
        for n, pair in enumerate(pairs):
            first = 2 * n
            there, back = chances[first : first + 2]
            if min(there, back) >= self.least:
                same.append(pair)
        return same

    def fits(self, source: str, target: str) -> bool:
        """Whether two texts may be a pair."""
        row = {"source": source, "target": target}
        return self._rule.judge(row).keep is True

    @cached_property
    def _rule(self) -> Paraphrase:
        """What a pair must be."""
        names = [field.name for field in fields(PairRule)]
        rule = {name: getattr(self, name) for name in names}
        return Paraphrase(field="target", other="source", **rule)


def components(
    texts: Sequence[str], edges: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """Each text's component of a graph, by the first text in it.

    >>> components("abcd", [("a", "c"), ("c", "d")])
    {'a': 'a', 'b': 'b', 'c': 'a', 'd': 'a'}
    """
    order = list(texts)
    root_of = {text: text for text in texts}
    for one, two in edges:
        roots = (root_of[one], root_of[two])
        low, high = sorted(roots, key=order.index)
        for text, root in root_of.items():
            if root == high:
                root_of[text] = low
    return root_of
