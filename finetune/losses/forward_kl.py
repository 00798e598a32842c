"""Forward KL: the student covers all that the teacher finds likely."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot


@dataclass(frozen=True, kw_only=True)
class ForwardKl(Divergence):
    r"""KL(teacher || student), whose gradient is student minus teacher probabilities.

    Args:
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative.

    Raises:
        ValueError: shapes that do not fit, a temperature that is not above 0.

    Source: Hinton et al., arXiv:1503.02531, without the squared temperature; the cross-entropy to
    the teacher has the same gradient.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(ForwardKl()(student, teacher, torch.ones(1, 1))), 4)
        0.1438
    """

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Sum of pt (lt - ls) + (ps - pt): the second part is zero on paper, and keeps every term
        from falling below 0 in floats.
        """
        gap = lt.sub_(ls)
        slope = torch.sub(ps, pt, out=ls)
        return dot(pt, gap) + slope.sum(dim=-1), slope
