"""A language model's judgement of a query's texts: their answers, their order and what it holds in
mind of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from torch import Tensor

from finetune.list_losses.base import (
    ABSENT,
    ListLoss,
    Lists,
    diagonal,
    in_batch,
)
from finetune.list_losses.pearson import Pearson

if TYPE_CHECKING:
    from finetune.core.list_tensors import PerQuery
    from finetune.core.tensors import Scalar

Features = Annotated[Tensor, "pair width"]


@dataclass(frozen=True, kw_only=True)
class Imitation(ListLoss):
    r"""InfoNCE + a H + b (1 - Pearson) + g G + e F.

    H is the likelihood of the first text in its list where each score is multiplied by how sure the
    teacher is of its side: z of the first, 1 - z of the others, z = sigmoid(target). F is the mean
    squared difference of the cosines between all pairs of the batch, by the student's features of
    a pair (`--kind pair`) and by the teacher's states (`--teacher-kind words`). G keeps texts that
    are hard to tell from the answer above texts of other queries: the sum over each negative h of
    the list and each text b of the batch's other lists of -ln sigmoid(s_h - s_b) max(0, z_h - z_b),
    z being the sigmoid of what the teacher scores each of them for the query.

    Args:
        hard: a, weight of the teacher's sureness, 0 or more.
        rank: b, weight of the order.
        batch: g, weight of hard negatives above those of the batch; 0 to leave them out. The
            paper's code has 0.01.
        feature: e, weight of the features; 0 to leave them out. The paper's code has 0.001.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries; 0 or more.

    Raises:
        ValueError: no targets, or a weight of features or of the batch without what it reads.

    Source: Liao et al., D2LLM, arXiv:2406.17262, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(Imitation()(example())), 4)
        2.4646
    """

    hard: float = 1.0
    rank: float = 1.0
    batch: float = 0.0
    feature: float = 0.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    teacher_kinds: ClassVar[tuple[str, ...]] = ("words",)

    def wants(self) -> tuple[str, ...]:
        """Features and judgements where they have a weight."""
        wanted = list(self.needs)
        if self.feature:
            wanted.append("features")
        if self.batch:
            wanted.append("judgements")
        return tuple(wanted)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        loss = in_batch(lists).mean()
        sure = _sure(lists)
        loss = loss + self.hard * sure.mean()
        order = Pearson()(lists)
        loss = loss + self.rank * order
        if self.batch:
            above = _hard_above_others(lists)
            loss = loss + self.batch * above.mean()
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


def _hard_above_others(lists: Lists) -> PerQuery:
    """[B] whether negatives of a list stand above texts of others where the teacher has them so."""
    count = len(lists.mask)
    own = diagonal(count, count, lists.mask)
    hard = lists.mask & ~lists.first()
    others = lists.seen() & ~own[:, :, None]
    # [B, n, B * n]: each text of a list with each text of the batch.
    counted = hard[:, :, None] & others.flatten(1)[:, None]
    right = lists.taught_scores().sigmoid()
    right_of_own = right.diagonal(dim1=0, dim2=1).T
    surer = right_of_own[:, :, None] - right.flatten(1)[:, None]
    apart = lists.own()[:, :, None] - lists.all().flatten(1)[:, None]
    apart = apart.masked_fill(~counted, 0.0)
    losses = -torch.nn.functional.logsigmoid(apart)
    weights = surer.clamp(min=0).masked_fill(~counted, 0.0)
    weighed = weights * losses
    return weighed.sum(dim=(1, 2))


def _cosines(features: Features) -> Tensor:
    """[P, P] between all pairs."""
    unit = torch.nn.functional.normalize(features, dim=-1)
    return unit @ unit.T
