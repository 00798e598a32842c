"""KL over a band of the teacher's tokens, a loss over spans of tokens, and where a text of the
student first goes wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from finetune.core.tensors import RowLabels, RowLogits, ValuesAndSlopes
from finetune.losses.base import TokenLoss, dot, log_softmax_, required


@dataclass(frozen=True, kw_only=True)
class DacKl(TokenLoss):
    r"""Forward KL of both sides renormalised within a band: the tokens between two quantiles of the
    teacher's ranking, and the label.

    The band keeps what the teacher holds likely and leaves out its long tail. In the paper a small
    network predicts both quantiles, as `learnt_band` does; here they are settings.

    Args:
        upper: rank share (0 to 1) where the band begins, 0 at the likeliest token.
        lower: rank share where it ends, above `upper`.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T], labels [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative.

    Raises:
        ValueError: quantiles out of order, no labels, shapes that do not fit.

    Source: Multi-Granularity Semantic Revision, arXiv:2407.10068, section 3.3 (distribution
    adaptive clipping).

    Example:
        >>> student, teacher = (
        ...     torch.tensor([[p]]).log() for p in ((0.6, 0.2, 0.2), (0.4, 0.4, 0.2))
        ... )
        >>> round(
        ...     float(
        ...         DacKl(lower=2 / 3)(
        ...             student,
        ...             teacher,
        ...             torch.ones(1, 1),
        ...             labels=torch.zeros(1, 1, dtype=torch.long),
        ...         )
        ...     ),
        ...     4,
        ... )
        0.1438
    """

    upper: float = 0.0
    lower: float = 0.5

    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.upper < self.lower <= 1:
            raise ValueError(
                f"upper={self.upper}, lower={self.lower}; use 0 <= upper < lower <= 1"
            )

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,
    ) -> ValuesAndSlopes:
        """Softmax within the band; tokens outside get no gradient."""
        outside = self._outside(teacher, required("labels", labels))
        ps = torch.empty_like(student)
        pt = torch.empty_like(teacher)
        student.masked_fill_(outside, -torch.inf)
        teacher.masked_fill_(outside, -torch.inf)
        ls = log_softmax_(student, ps)
        lt = log_softmax_(teacher, pt)
        gap = (lt - ls).masked_fill_(outside, 0.0)
        slope = (ps - pt).masked_fill_(outside, 0.0)
        # The slopes sum to 0 on paper; with them no term falls below 0 in floats.
        return dot(pt, gap) + slope.sum(dim=-1), slope

    def _outside(self, teacher: RowLogits, labels: RowLabels) -> Tensor:
        """[N, V] True beyond the band of each row."""
        size = teacher.shape[-1]
        order = teacher.argsort(dim=-1, descending=True)
        ranks = torch.empty_like(order)
        in_order = torch.arange(size, device=teacher.device)
        ranks.scatter_(1, order, in_order.expand_as(ranks))
        first = round(self.upper * size)
        end = max(1, round(self.lower * size))
        outside = (ranks < first) | (ranks >= end)
        return outside.scatter_(1, labels[:, None], value=False)
