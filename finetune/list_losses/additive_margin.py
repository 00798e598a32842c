"""Translations of each other among all pairs of the batch, with a margin and a teacher besides."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from finetune.core.list_tensors import BatchScores, PerQuery
from finetune.core.tensors import Scalar
from finetune.list_losses.base import ListLoss, Lists, diagonal, likelihood


@dataclass(kw_only=True, eq=False)
class AdditiveMargin(ListLoss):
    r"""(L(q -> d) + L(d -> q)) / 2 + a F + b M; in InfoNCE L the right pair's cosine is less by m.

    F is the mean squared difference between a learnt map W of a text's vector and the teacher's
    vector of it; M that between the cosines of all queries with all texts of the batch and the
    teacher's.

    Args:
        margin: m, 0 or more.
        feature: a, weight of the vectors; 0 for no teacher.
        matrix: b, weight of the cosines; 0 for no teacher.

    Shapes: queries [B, D], documents [B, n, D], mask [B, n]; the teacher's vectors may have another
    width. The first text of a list is its query's translation.

    Returns: the mean over queries; 0 or more.

    Raises:
        ValueError: a weight of a teacher without one.

    Source: Mao and Nakagawa, LEALLA, arXiv:2302.08387, section 3; m as in it.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(AdditiveMargin()(example())), 4)
        0.8295
    """

    margin: float = 0.3
    feature: float = 0.0
    matrix: float = 0.0
    module: torch.nn.Linear | None = field(default=None, init=False)

    def wants(self) -> tuple[str, ...]:
        """A teacher where it has a weight."""
        taught = self.feature or self.matrix
        return ("teacher",) if taught else ()

    def open(self, width: int, teacher_width: int) -> AdditiveMargin:
        """Makes what is learned besides the student: the map to the teacher's width."""
        self.module = torch.nn.Linear(width, teacher_width, bias=False)
        return self

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        scores = _less(lists, self.margin)
        forwards = likelihood(scores)
        backwards = _backwards(scores)
        both = forwards + backwards
        loss = both.mean() / 2
        if self.feature:
            loss = loss + self.feature * self.of_vectors(lists)
        if self.matrix:
            cosines = lists.all() / lists.scale
            apart = cosines - lists.taught_scores()
            squares = apart[lists.seen()].square()
            loss = loss + self.matrix * squares.mean()
        return loss

    def of_vectors(self, lists: Lists) -> Scalar:
        """F, a scalar."""
        taught = lists.taught()
        if self.module is None:
            raise ValueError(
                "AdditiveMargin: call open(width, teacher_width) first"
            )
        there = lists.mask
        own = torch.cat(
            [lists.queries, lists.documents[there]],
        )
        wanted = torch.cat(
            [taught.queries, taught.documents[there]],
        )
        mapped = self.module(own)
        apart = mapped - wanted.detach()
        squares: Scalar = apart.square()
        return squares.mean()


def _less(lists: Lists, margin: float) -> BatchScores:
    """[B, B, n] scores where the right pairs are worth less by a margin."""
    scores = lists.all()
    count = len(scores)
    own = diagonal(count, count, scores)
    first = lists.first()
    right = own[:, :, None] & first
    less = scores - lists.scale * margin
    return torch.where(right, less, scores)


def _backwards(scores: BatchScores) -> PerQuery:
    """[B] likelihood of a first text's query among the queries of the batch."""
    to_first = scores[:, :, 0].T
    total = torch.logsumexp(to_first, dim=1)
    return total - to_first.diagonal()
