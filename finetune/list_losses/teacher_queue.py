"""A teacher's vector of the same text, among vectors of many other texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from finetune.core.list_tensors import TextMask, Vectors
from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, diagonal


class TeacherMap(torch.nn.Module):
    """What is learned besides the student: a map from its width to the teacher's, and the logarithm
    of the scale.
    """

    def __init__(self, width: int, teacher_width: int, start: float) -> None:
        super().__init__()
        self.map = torch.nn.Linear(width, teacher_width, bias=False)
        self.log_scale = torch.nn.Parameter(torch.tensor(start))

    def forward(self, vectors: Vectors) -> Vectors:
        """Vectors of the teacher's width."""
        mapped: Vectors = self.map(vectors)
        return mapped


@dataclass(kw_only=True, eq=False)
class TeacherQueue(ListLoss):
    r"""- log e^(s cos(W x, t)) / sum over the teacher's vectors of the batch and of a queue, for
    every text; s is learned.

    Args:
        size: teacher vectors that are kept, the oldest leave first.
        start: exp of it is s at first.
        regression: weight of the squared distance besides, 0 or more.

    Shapes: queries [B, D], documents [B, n, D], mask [B, n]; the teacher's vectors may have another
    width.

    Returns: the mean over texts, nats; 0 or more.

    Raises:
        ValueError: no teacher.

    Source: Gao et al., DistilCSE, arXiv:2112.05638, section 3; sizes and s as in its code.

    Example:
        >>> from finetune.list_losses.base import Lists
        >>> lists = Lists(
        ...     queries=torch.eye(2),
        ...     documents=torch.eye(2)[:, None],
        ...     mask=torch.ones(2, 1, dtype=torch.bool),
        ... )
        >>> loss = TeacherQueue(size=8).open(2, 2)
        >>> _ = torch.nn.init.eye_(loss.module.map.weight)
        >>> round(float(loss(Lists(**{**vars(lists), "teacher": lists})).detach()), 4)
        0.0
    """

    needs: ClassVar[tuple[str, ...]] = ("teacher",)
    least: ClassVar[Least] = "text"
    signed: ClassVar[tuple[str, ...]] = ("start",)

    size: int = 65_536
    start: float = 2.6592
    regression: float = 0.0
    module: TeacherMap | None = field(default=None, init=False)
    queue: Vectors | None = field(default=None, init=False)

    def open(self, width: int, teacher_width: int) -> TeacherQueue:
        """Makes what is learned besides the student: the map from its width to the teacher's, and
        the scale.
        """
        self.module = TeacherMap(width, teacher_width, self.start)
        return self

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar; afterwards the batch's teacher vectors are in the queue."""
        texts = _texts(lists, lists.mask)
        taught = lists.taught()
        wanted = _texts(taught, lists.mask).detach()
        if self.module is None:
            raise ValueError(
                "TeacherQueue: call open(width, teacher_width) first"
            )
        mapped = self.module.forward(texts)
        every = wanted
        if self.queue is not None:
            every = torch.cat([wanted, self.queue])
        self.queue = every[: self.size]
        scale = self.module.log_scale.exp()
        unit = torch.nn.functional.normalize(mapped, dim=-1)
        scores = scale * unit @ every.T
        twins = _twins(wanted, every)
        scores = scores.masked_fill(twins, -torch.inf)
        total = torch.logsumexp(scores, dim=1)
        surprises = total - scores.diagonal()
        loss = surprises.mean()
        if not self.regression:
            return loss
        differences = mapped - wanted
        squares = differences.square().sum(dim=-1)
        return loss + self.regression * squares.mean()


def _texts(lists: Lists, mask: TextMask) -> Vectors:
    """All queries, then all texts that are there."""
    documents = lists.documents[mask]
    return torch.cat([lists.queries, documents])


def _twins(wanted: Vectors, every: Vectors) -> Tensor:
    """[texts, every], True where the same text stands elsewhere: it is no negative."""
    same = diagonal(len(wanted), len(every), every)
    cosines = wanted @ every.T
    alike = cosines > 1 - 1e-6
    return alike & ~same
