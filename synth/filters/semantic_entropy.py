"""Drops seeds whose draws mean many different things."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.answers.equal import canonical
from synth.core.errors import TeacherError
from synth.core.records import Fields, Row, Verdict
from synth.core.rows import meta_of, text_of
from synth.filters.base_asking import AskingFilter
from synth.local_models.minilm import MINILM
from synth.local_models.scores import entailment, vectors
from synth.verifiers.algebra import Algebra

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.packs.pack import Pack
    from synth.packs.step import Step


@dataclass(frozen=True, kw_only=True)
class SemanticEntropy(AskingFilter):
    """Entropy over clusters of draws with the same meaning (Kuhn et al., arXiv:2302.09664; Farquhar
    et al., Nature 630, 2024).

    The first draw of a cluster stands for it; each further draw joins the first cluster whose
    meaning it has. Draws of equal canonical text are one before anybody is asked.

    Sees: all draws of one seed. Costs: nothing but time; with `same=judge` up to a call for each
    pair of draws of different texts.

    Args:
        same: who says that two draws mean the same: `spelling` (canonical answers), `algebra`
            (formulas), `embedding` (cosine of at least `least`), `entailment` (a natural language
            inference model: neither direction contradicts, not both are neutral), `judge` (a
            teacher).
        answer: the field whose meaning counts; the raw reply where a row lacks it.
        most: largest entropy (0 to 1: divided by the logarithm of the number of draws) of a seed
            that is kept.
        only_largest: whether draws outside the largest cluster are dropped too.
        estimate: `discrete` counts draws; `rao` weighs each draw with its probability a token
            (needs log-probabilities in the rows).
        model: for `embedding` or `entailment`, a folder or a name of the hub.
        least: for `embedding`, the least cosine; for `entailment`, the least probability that
            counts as entailed.
        teacher: for `judge`, PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        pack: for `judge`, a pack with the inputs question, first and second, whose verdict is yes
            or no.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            how it is asked then (`api_base`, `timeout`, `budget`, ...): see `CallOptions` of
            `synth.calls`.

    Reasons:
        uncertain: the entropy is too large.
        other_meaning: the draw is not in the largest cluster, or two are equally large.
        no_answer: the draw has none.
        critic_failed: no reply of the judge came (unknown).

    Marks: `entropy` (0 to 1), `cluster` (its number), `clusters`.

    Example:
        >>> rows = [{"question": "q", "answer": a} for a in ("26", "$26.00", "26 eggs", "18")]
        >>> kept, dropped = SemanticEntropy(most=0.5).split(rows)
        >>> len(kept), dropped[0]["reason"], kept[0]["marks"]["semantic_entropy"]["entropy"]
        (3, 'other_meaning', 0.4056)
    """

    same: Literal["spelling", "algebra", "embedding", "entailment", "judge"] = (
        "spelling"
    )
    answer: str = "answer"
    most: float = 0.5
    only_largest: bool = True
    estimate: Literal["discrete", "rao"] = "discrete"
    model: str = MINILM
    least: float = 0.9
    pack: str = "judge_same"
    unknown: Literal["keep", "drop"] = "drop"

    group: ClassVar[str | None] = "draws"
    reasons: ClassVar[dict[str, str]] = {
        "uncertain": "the draws mean many things",
        "other_meaning": "not in the largest cluster",
        "no_answer": "there is none",
        "critic_failed": "no reply came",
    }

    def needs(self) -> tuple[str, ...]:
        """The question that the judge sees."""
        return ("question",) if self.same == "judge" else ()

    def roles(self) -> tuple[str, ...]:
        """The judge, where there is one."""
        return (self.teacher,) if self.same == "judge" else ()

    def questions(self, draws: int) -> Sequence[tuple[Step, Pack, float]]:
        """At most a call a pair of draws."""
        if self.same == "judge":
            return [(self.step(), self.loaded, draws * (draws - 1) / 2)]
        return ()

    async def about(self, row: Row, doors: Doors) -> Verdict:
        """A single draw has no entropy."""
        return (await self.judged([row], doors))[0]

    async def judged(self, rows: Sequence[Row], doors: Doors) -> list[Verdict]:
        """One verdict a draw of one seed."""
        texts = [
            str(row[self.answer])
            if row.get(self.answer) is not None
            else text_of(row)
            for row in rows
        ]
        try:
            names = await self._clusters(texts, rows, doors)
        except TeacherError as error:
            return [
                Verdict(None, "critic_failed", {"failure": error.kind})
            ] * len(rows)
        return self._verdicts(names, [self._weight(row) for row in rows])

    async def _clusters(
        self, texts: Sequence[str], rows: Sequence[Row], doors: Doors
    ) -> list[int | None]:
        """The number of each draw's cluster, None without an answer."""
        keys = [canonical(text) for text in texts]
        firsts: list[int] = []
        cluster_of_key: dict[str, int] = {}
        for index, key in enumerate(keys):
            if not texts[index].strip() or key in cluster_of_key:
                continue
            for number, first in enumerate(firsts):
                if await self._alike(
                    texts[first],
                    texts[index],
                    rows[index],
                    doors,
                ):
                    cluster_of_key[key] = number
                    break
            else:
                cluster_of_key[key] = len(firsts)
                firsts.append(index)
        return [
            cluster_of_key[key] if text.strip() else None
            for key, text in zip(keys, texts, strict=True)
        ]

    async def _alike(
        self, first: str, second: str, row: Row, doors: Doors
    ) -> bool:
        if self.same == "judge":
            values = self.values(
                {
                    "question": row.get("question"),
                    "first": first,
                    "second": second,
                }
            )
            return (await self.ask(values, doors)).fields.get(
                "verdict"
            ) == "yes"
        return await asyncio.to_thread(self._same, first, second)

    def _same(self, first: str, second: str) -> bool:
        if self.same == "algebra":
            return _algebra.verify(first, second) is True
        if self.same == "embedding":
            left, right = vectors([first, second], self.model)
            return float(left @ right) >= self.least
        if self.same == "entailment":
            ways = entailment([(first, second), (second, first)], self.model)
            contradicted = False
            entailed = False
            for yes, no in ways:
                if yes >= self.least:
                    entailed = True
                elif no > max(yes, 1 - yes - no):
                    contradicted = True
            return entailed and not contradicted
        return False

    def _weight(self, row: Row) -> float:
        if self.estimate == "rao":
            return exp(float(meta_of(row, "logprob") or 0.0))
        return 1.0

    def _verdicts(
        self, names: Sequence[int | None], weights: Sequence[float]
    ) -> list[Verdict]:
        mass: dict[int, float] = {}
        for name, weight in zip(names, weights, strict=True):
            if name is not None:
                mass[name] = mass.get(name, 0.0) + weight
        spread = entropy(list(mass.values()), len(names))
        best = max(mass.values(), default=0.0)
        largest = [name for name, share in mass.items() if share == best]
        marks: Fields = {"entropy": spread, "clusters": len(mass)}
        return [
            self._verdict(name, spread, largest, {**marks, "cluster": name})
            for name in names
        ]

    def _verdict(
        self,
        name: int | None,
        spread: float,
        largest: Sequence[int],
        marks: Row,
    ) -> Verdict:
        if name is None:
            return Verdict(False, "no_answer", marks)
        if spread > self.most:
            return Verdict(False, "uncertain", marks)
        other = self.only_largest and largest != [name]
        return Verdict(not other, "other_meaning" if other else "", marks)


def entropy(masses: Sequence[float], draws: int) -> float:
    """Shannon entropy of the shares, divided by ln(draws): 0 where all mean the same, 1 where no
    two do.

    >>> entropy([2.0, 2.0], 4), entropy([4.0], 4), entropy([1, 1, 1, 1], 4)
    (0.5, 0.0, 1.0)
    """
    total = sum(masses)
    shares = [mass / total for mass in masses if mass > 0] if total else []
    if draws > 1:
        return round(
            abs(-sum(share * log(share) for share in shares) / log(draws)), 4
        )
    return 0.0


_algebra = Algebra()
