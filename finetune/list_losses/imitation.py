"""A language model's judgement of a query's texts: their answers, their order and what it holds in
mind of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from torch import Tensor

from finetune.list_losses.base import ABSENT, ListLoss, Lists, in_batch
from finetune.list_losses.pearson import Pearson

if TYPE_CHECKING:
    from finetune.core.list_tensors import PerQuery
    from finetune.core.tensors import Scalar

Features = Annotated[Tensor, "pair width"]


@dataclass(frozen=True, kw_only=True)
class Imitation(ListLoss):
    r"""InfoNCE + a H + b (1 - Pearson) + e F.

    H is the likelihood of the first text in its list where each score is multiplied by how sure the
    teacher is of its side: z of the first, 1 - z of the others, z = sigmoid(target). F is the mean
    squared difference of the cosines between all pairs of the batch, by the student's features of
    a pair (`--kind pair`) and by the teacher's states (`--teacher-kind words`).

    Args:
        hard: a, weight of the teacher's sureness, 0 or more.
        rank: b, weight of the order.
        feature: e, weight of the features; 0 to leave them out. The paper's code has 0.001.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries; 0 or more.

    Raises:
        ValueError: no targets, or a weight of features without features.

    Source: Liao et al., D2LLM, arXiv:2406.17262, section 3. Its term between hard and in-batch
    negatives is left out: it needs the teacher's scores of the whole batch.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(Imitation()(example())), 4)
        2.4646
    """

    hard: float = 1.0
    rank: float = 1.0
    feature: float = 0.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    teacher_kinds: ClassVar[tuple[str, ...]] = ("words",)

    def wants(self) -> tuple[str, ...]:
        """Features where they have a weight."""
        return (*self.needs, "features") if self.feature else self.needs

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        loss = in_batch(lists).mean()
        loss = loss + self.hard * _sure(lists).mean()
        loss = loss + self.rank * Pearson()(lists)
        if not self.feature:
            return loss
        own, taught = lists.pair_features()
        there = lists.mask
        by_student = _cosines(own[there])
        by_teacher = _cosines(taught[there])
        apart = by_student - by_teacher
        squares = apart.square()
        return loss + self.feature * squares.mean()


def _sure(lists: Lists) -> PerQuery:
    """[B] negative log-likelihood of the first text, scores times the teacher's sureness."""
    right = lists.wanted().sigmoid()
    first = lists.first()
    sureness = torch.where(first, right, 1 - right)
    scores = sureness * lists.own()
    scores = scores.masked_fill(~lists.mask, ABSENT)
    total = torch.logsumexp(scores, dim=1)
    return total - scores[:, 0]


def _cosines(features: Features) -> Tensor:
    """[P, P] between all pairs."""
    unit = torch.nn.functional.normalize(features, dim=-1)
    return unit @ unit.T
