"""A teacher's vector of the same text, among vectors of many other texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from finetune.list_losses.base import ListLoss, Lists


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

    size: int = 65_536
    start: float = 2.6592
    regression: float = 0.0
    module: Any = field(default=None, init=False)
    queue: Any = field(default=None, init=False)

    def open(self, width: int, teacher_width: int) -> TeacherQueue:
        """Makes what is learned besides the student: the map from its width to the teacher's, and
        the scale.
        """
        self.module = torch.nn.Module()
        self.module.map = torch.nn.Linear(width, teacher_width, bias=False)
        self.module.log_scale = torch.nn.Parameter(torch.tensor(self.start))
        return self

    def __call__(self, lists: Lists) -> Any:
        """The loss, a scalar; afterwards the batch's teacher vectors are in the queue."""
        taught = lists.taught()
        texts = torch.cat([lists.queries, lists.documents[lists.mask]])
        wanted = torch.cat(
            [taught.queries, taught.documents[lists.mask]]
        ).detach()
        mapped = self.module.map(texts)
        every = (
            wanted if self.queue is None else torch.cat([wanted, self.queue])
        )
        scores = (
            self.module.log_scale.exp()
            * torch.nn.functional.normalize(mapped, dim=-1)
            @ every.T
        )
        same = torch.eye(
            len(wanted), len(every), dtype=torch.bool, device=every.device
        )
        twins = (
            (wanted @ every.T) > 1 - 1e-6
        ) & ~same  # the same text elsewhere is no negative
        scores = scores.masked_fill(twins, -torch.inf)
        self.queue = every[: self.size]
        loss = (torch.logsumexp(scores, dim=1) - scores.diagonal()).mean()
        if self.regression:
            return (
                loss
                + self.regression
                * (mapped - wanted).square().sum(dim=-1).mean()
            )
        return loss
