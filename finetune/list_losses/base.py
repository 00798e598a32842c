"""The contract of a loss over lists: scores of a query's texts, and of the texts of the batch's
other queries.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import ClassVar, TypedDict, Unpack

import torch
from torch import Tensor

from finetune.core.list_tensors import (
    BatchScores,
    LayerScores,
    PerQuery,
    QueryVectors,
    Scores,
    TextMask,
    TextOrder,
    TextVectors,
)
from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least

# Of what a loss may need, that which a teacher brings.
OF_TEACHER = ("teacher", "layers", "ranker", "judgements", "features")
# What an absent text scores: its exponential is 0 in every precision, and no gradient comes of it.
ABSENT = -1e4


@dataclass(frozen=True, kw_only=True)
class Lists:
    """A batch of B queries with n texts each, the first of which answers its query unless targets
    say otherwise.

    Attributes:
        queries: [B, D] unit vectors.
        documents: [B, n, D] unit vectors.
        mask: [B, n], True where there is a text; every query has its first.
        targets: [B, n] what a teacher thinks of the texts, higher is better; None without a
            teacher.
        scale: 1 / temperature: scores are cosines times it.
        groups: [B] which queries belong together; None where none do.
        keys: [B, n] equal for equal texts: one that answers a query is no negative of it, wherever
            it stands; None not to look.
        teacher: the same texts as vectors of a frozen teacher (or of the student as it was before);
            None without one.
        teacher_scores: [B, B, n] what a frozen teacher of any kind scores every text of the batch
            for every query; None where they are the cosines of `teacher`.
        heads: [B, B, n] scores of every text of the batch for every query by other heads of the
            same model (`sparse`, `multi`); None where it has none.
        scores: [B, B, n] scores of every text of the batch for every query that are no cosines, by
            a network over two vectors; None for cosines.
        features: [B, n, H] what such a network makes of each query with each of its texts.
        teacher_features: [B, n, F] what a teacher makes of them.
        ranker: [B, n] scores of each query's texts by a ranker that learns, too.
        layers: [k, B, B, n] scores of every text of the batch for every query by layers below the
            last, times the scale.
        teacher_layers: [1 + k, B, B, n] the teacher's by its last layer and by layers below it,
            the lowest first, as many as the student's.
    """

    queries: QueryVectors
    documents: TextVectors
    mask: TextMask
    targets: Scores | None = None
    scale: float = 20.0
    groups: PerQuery | None = None
    keys: TextOrder | None = None
    teacher: Lists | None = None
    teacher_scores: BatchScores | None = None
    heads: Mapping[str, BatchScores] | None = None
    scores: BatchScores | None = None
    features: TextVectors | None = None
    teacher_features: TextVectors | None = None
    ranker: Scores | None = None
    layers: LayerScores | None = None
    teacher_layers: LayerScores | None = None

    def own(self) -> Scores:
        """[B, n] scores of each query's texts; ABSENT where there is none."""
        if self.scores is None:
            scores = torch.einsum("bd,bnd->bn", self.queries, self.documents)
        else:
            scores = self.scores.diagonal(dim1=0, dim2=1).T
        return (self.scale * scores).masked_fill(~self.mask, ABSENT)

    def all(self) -> BatchScores:
        """[B, B, n] scores of every query with every query's texts; ABSENT where there is none."""
        scores = self.scores
        if scores is None:
            scores = torch.einsum("bd,cnd->bcn", self.queries, self.documents)
        return (self.scale * scores).masked_fill(~self.seen(), ABSENT)

    def twins(self) -> BatchScores:
        """[B, B, n], True where a text of another query is one that answers this one."""
        if self.keys is None:
            return torch.zeros(
                len(self.mask),
                *self.mask.shape,
                dtype=torch.bool,
                device=self.mask.device,
            )
        right = self.keys.masked_fill(~self.positives(), -1)
        alike = (self.keys[None, :, :, None] == right[:, None, None, :]).any(
            dim=-1
        )
        own = diagonal(len(alike), len(alike), alike)
        return alike & ~own[:, :, None]

    def others(self) -> Scores:
        """[B, B * n] scores of each query with the texts of all other queries; ABSENT for its
        own.
        """
        own = diagonal(len(self.mask), len(self.mask), self.mask)
        return self.all().masked_fill(own[:, :, None], ABSENT).flatten(1)

    def positives(self) -> TextMask:
        """[B, n], True for texts that answer: targets of at least 0.5, else the first."""
        if self.targets is None:
            return self.first()
        return self.mask & (self.targets >= 0.5)

    def first(self) -> TextMask:
        """[B, n], True for each query's first text."""
        first = torch.zeros_like(self.mask)
        first[:, 0] = True
        return first

    def wanted(self) -> Scores:
        """[B, n] targets.

        Raises:
            ValueError: none were given.
        """
        if self.targets is None:
            raise ValueError(
                "no targets; this loss learns a teacher's scores: give rows with documents and "
                "scores"
            )
        return self.targets

    def shares(self, temperature: float) -> Scores:
        """[B, n] the teacher's distribution over each list: softmax of targets / temperature, 0
        where there is no text.
        """
        return torch.softmax(
            (self.wanted() / temperature).masked_fill(~self.mask, ABSENT),
            dim=-1,
        ).masked_fill(~self.mask, 0.0)

    def taught(self) -> Lists:
        """The teacher's side.

        Raises:
            ValueError: there is none.
        """
        if self.teacher is None:
            raise ValueError(
                "no teacher; this loss learns from vectors: give --teacher M"
            )
        return self.teacher

    def taught_scores(self) -> BatchScores:
        """[B, B, n] the teacher's scores of every text of the batch for every query, as it gives
        them, without gradient.

        Raises:
            ValueError: there is no teacher.
        """
        if self.teacher_scores is not None:
            return self.teacher_scores.detach()
        taught = self.taught()
        return (taught.all() / taught.scale).detach()

    def by_head(self, head: str) -> BatchScores:
        """[B, B, n] scores of another head of the model.

        Raises:
            ValueError: it has none.
        """
        if self.heads is None:
            raise ValueError(
                "no heads; this loss teaches the heads of one model: give --kind heads"
            )
        return self.heads[head]

    def pair_features(self) -> tuple[TextVectors, TextVectors]:
        """[B, n, H] the student's and [B, n, F] the teacher's of each query with each text.

        Raises:
            ValueError: one of them is missing.
        """
        if self.features is None or self.teacher_features is None:
            raise ValueError(
                "no features of pairs; this weight compares a student's with a teacher's: give "
                "--kind pair, --teacher M and --teacher-kind words"
            )
        return self.features, self.teacher_features.detach()

    def ranked(self) -> Scores:
        """[B, n] the ranker's scores, with gradient.

        Raises:
            ValueError: there is none.
        """
        if self.ranker is None:
            raise ValueError(
                "no ranker; this loss trains two models: give --teacher M and --teacher-kind cross"
            )
        return self.ranker

    def by_layer(self) -> tuple[LayerScores, LayerScores]:
        """[k, B, B, n] the student's scores by layers below the last, and [1 + k, B, B, n] the
        teacher's, of which the first are those of its last layer.

        Raises:
            ValueError: one of them is missing.
        """
        if self.layers is None or self.teacher_layers is None:
            raise ValueError(
                "no layers; this loss compares the layers of two models: give --teacher M and "
                "--kind bi"
            )
        return self.layers, self.teacher_layers

    def seen(self) -> TextMask:
        """[B, B, n], True for the texts of the batch that each query is compared with: those that
        are there, without those that answer it and stand in another list.
        """
        return self.mask[None] & ~self.twins()


class ExampleFields(TypedDict, total=False):
    """Fields of an example that are not as ever."""

    targets: Scores | None
    groups: PerQuery | None
    keys: TextOrder | None
    teacher: Lists | None
    teacher_scores: BatchScores | None
    heads: Mapping[str, BatchScores] | None
    ranker: Scores | None
    layers: LayerScores | None
    teacher_layers: LayerScores | None
    mask: TextMask
    scale: float


def example(**more: Unpack[ExampleFields]) -> Lists:
    """Two queries with two texts each, for examples: vectors of two numbers, targets that turn the
    second list around, scale 1.
    """
    documents = torch.nn.functional.normalize(
        torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]]),
        dim=-1,
    )
    targets = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    lists = Lists(
        queries=torch.eye(2),
        documents=documents,
        mask=torch.ones(2, 2, dtype=torch.bool),
        targets=targets,
        scale=1.0,
    )
    return replace(lists, **more)


def diagonal(rows: int, columns: int, like: Tensor) -> Tensor:
    """[rows, columns] True where row and column have the same number."""
    return torch.eye(rows, columns, dtype=torch.bool, device=like.device)


def differences(values: Scores) -> Tensor:
    """[B, i, j] of each pair of a list: i's less j's."""
    return values[:, :, None] - values[:, None, :]


def both(mask: TextMask) -> Tensor:
    """[B, i, j] True where both texts of a pair are there."""
    return mask[:, :, None] & mask[:, None, :]


class ListLoss(ABC):
    """A scalar of a batch of lists, in nats where nothing else is said; the mean over queries.

    Attributes:
        needs: what a batch must bring: `targets`, `teacher`, `groups`, ...
        least: of what it learns something: a query's `list` of several texts, another text of its
            list or of the `batch`, or a single `text`.
        reads_first: a query's first text alone is read.
        seeks_answer: of a list that has scores, one at least must be that of an answer.
        previous: the teacher is the student as it was before the training.
        teacher_kinds: of teachers that it can read.
        above_zero: parameters that may not be 0, such as what scores are divided by.
        signed: parameters that may be below 0.

    Raises:
        ValueError: a number that is not finite, or out of range.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[Least] = "batch"
    reads_first: ClassVar[bool] = False
    seeks_answer: ClassVar[bool] = False
    previous: ClassVar[bool] = False
    teacher_kinds: ClassVar[tuple[str, ...]] = ("bi",)
    above_zero: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuses numbers by which nothing can be learnt."""
        if not is_dataclass(self):
            return
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, int | float):
                self._check_number(part.name, value)

    def _check_number(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"{name}={value}; use a finite number")
        if name in self.above_zero and value <= 0:
            raise ValueError(f"{name}={value}; use a number above 0")
        if value < 0 and name not in self.signed:
            raise ValueError(f"{name}={value}; use 0 or more")

    def wants(self) -> tuple[str, ...]:
        """What a batch must bring for the parameters that were given."""
        return self.needs

    def learns_of(self) -> Least:
        """Of what something is learnt with the parameters that were given."""
        return self.least

    def leaves_out(self, targets: Sequence[float]) -> bool:  # noqa: ARG002
        """Whether a list with such targets teaches nothing, and is no part of the mean."""
        return False

    def reads_teacher(self) -> bool:
        """Whether a teacher that is given is read; the student as it was before is none."""
        wanted = {*self.wants()}
        return not self.previous and bool(wanted & {*OF_TEACHER})

    @abstractmethod
    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""


def kl(
    targets: Scores, scores: Scores, mask: TextMask, temperature: float = 1.0
) -> PerQuery:
    """[B] KL(softmax(targets / T) || softmax(scores / T)) over the texts that are there, nats.

    >>> import torch
    >>> mask = torch.tensor([[True, True, False]])
    >>> round(
    ...     float(
    ...         kl(torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[1.0986, 0.0, 0.0]]), mask)
    ...     ),
    ...     3,
    ... )
    0.144
    """
    target_log_shares = torch.log_softmax(
        (targets / temperature).masked_fill(~mask, ABSENT), dim=-1
    )
    log_shares = torch.log_softmax(
        (scores / temperature).masked_fill(~mask, ABSENT), dim=-1
    )
    return (
        (target_log_shares.exp() * (target_log_shares - log_shares))
        .masked_fill(~mask, 0.0)
        .sum(dim=-1)
    )


def plackett_luce(
    scores: Scores, order: TextOrder, mask: TextMask, rest: Scores | None = None
) -> PerQuery:
    """[B] mean negative log-likelihood of an order (Plackett 1975): each text is chosen among those
    that come no earlier and `rest`.

    Args:
        scores: [B, n].
        order: [B, n] places of the texts, the best first, absent ones last.
        mask: [B, n].
        rest: [B, m] scores of texts that stand behind all of them; None for none.

    >>> import torch
    >>> round(
    ...     float(
    ...         plackett_luce(
    ...             torch.tensor([[1.0, 0.0]]),
    ...             torch.tensor([[0, 1]]),
    ...             torch.ones(1, 2, dtype=torch.bool),
    ...         )
    ...     ),
    ...     4,
    ... )
    0.1566
    """
    ranked = scores.gather(1, order)
    there = mask.gather(1, order)
    ranked = ranked.masked_fill(~there, ABSENT)
    return ((tails(ranked, rest) - ranked) * there).sum(dim=1) / there.sum(
        dim=1
    )


def tails(ranked: Scores, rest: Scores | None = None) -> Scores:
    """[B, n] log of the sum of exponentials of each score, those behind it, and `rest` [B, m]."""
    tail = torch.flip(torch.logcumsumexp(torch.flip(ranked, [1]), dim=1), [1])
    if rest is None:
        return tail
    return torch.logaddexp(tail, torch.logsumexp(rest, dim=1, keepdim=True))


def by_target(targets: Scores, mask: TextMask) -> TextOrder:
    """[B, n] places of the texts by falling target, equal ones in order, absent ones last."""
    return targets.masked_fill(~mask, -torch.inf).argsort(
        dim=1, descending=True, stable=True
    )


def in_batch(lists: Lists) -> PerQuery:
    """[B] negative log-likelihood of each query's first text among all texts of the batch (InfoNCE,
    arXiv:1807.03748).
    """
    return likelihood(lists.all())


def likelihood(scores: BatchScores) -> PerQuery:
    """[B] negative log-likelihood of each query's first text by [B, B, n] scores of all texts."""
    first = scores[:, :, 0].diagonal()
    return torch.logsumexp(scores.flatten(1), dim=1) - first


def mean_over(values: PerQuery, counts: PerQuery) -> Scalar:
    """Sum of [B] sums over their [B] counts each, then the mean over queries that count at all; 0
    with a gradient where none does.
    """
    some = counts > 0
    return (values / counts.clamp(min=1)).masked_fill(
        ~some, 0.0
    ).sum() / some.sum().clamp(min=1)
