"""Mean squared difference of logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLabels, RowLogits, ValuesAndSlopes
from finetune.losses.base import FLOOR, TokenLoss, dot


@dataclass(frozen=True, kw_only=True)
class LogitMse(TokenLoss):
    r"""Mean over the vocabulary of (student - teacher)^2.

    Args:
        centre: subtract each row's mean first: logits that differ by a constant say the same.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative; not nats but squared
    logits.

    Raises:
        ValueError: shapes that do not fit, a temperature that is not above 0. Logits of -inf count
            as 10,000 below the largest.

    Source: Ba and Caruana, arXiv:1312.6184; the mean over all V as in TextBrewer, arXiv:2002.12620.
    DistilBERT sums over V.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(LogitMse()(student, teacher, torch.ones(1, 1))), 4)
        0.3224
    """

    centre: bool = False

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,  # noqa: ARG002
    ) -> ValuesAndSlopes:
        """Gradient 2 (student - teacher) / V; centring takes its mean out too, which the gap's own
        mean being 0 has done.
        """
        for logits in (student, teacher):
            largest = logits.amax(dim=-1, keepdim=True).clamp(min=FLOOR)
            torch.maximum(logits, largest + FLOOR, out=logits)
        gap = student.sub_(teacher)
        if self.centre:
            gap.sub_(gap.mean(dim=-1, keepdim=True))
        return dot(gap, gap) / gap.shape[-1], gap.mul_(2 / gap.shape[-1])
