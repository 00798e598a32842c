"""Forward and reverse KL, weighed token by token by where student and teacher differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import (
    RowLogProbs,
    RowProbabilities,
    RowValues,
    ValuesAndSlopes,
)
from finetune.losses.base import Divergence
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.reverse_kl import ReverseKl
from synth.core.errors import require_share


@dataclass(frozen=True, kw_only=True)
class AdaptiveKl(Divergence):
    r"""w KL(teacher || student) + (1 - w) KL(student || teacher): w is the share of |teacher -
    student| that lies on the teacher's head.

    Args:
        head: mass of the teacher (0 to 1) that counts as its head: its likeliest tokens, beyond the
            tail of mass 1 - head.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative; no gradient through w.

    Raises:
        ValueError: a head outside 0 to 1; shapes that do not fit.

    Source: Wu et al., AKL, arXiv:2404.02657, section 4.2: the tail are the least likely tokens up
    to a mass of 0.5.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(AdaptiveKl()(student, teacher, torch.ones(1, 1))), 4)
        0.1373
    """

    head: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("head", self.head)

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Both KLs, each with its weight."""
        share = self._head_share(ps, pt)
        rest = 1 - share
        forward, forward_slope = ForwardKl().diverge(
            ls.clone(), ps, lt.clone(), pt
        )
        reverse, reverse_slope = ReverseKl().diverge(ls, ps, lt, pt)
        value = share * forward + rest * reverse
        slope = forward_slope.mul_(share[:, None])
        slope.add_(reverse_slope.mul_(rest[:, None]))
        return value, slope

    def _head_share(
        self, ps: RowProbabilities, pt: RowProbabilities
    ) -> RowValues:
        """The share of |teacher - student| that lies on the teacher's head."""
        ascending, order = pt.sort(dim=-1)
        distance = (ps - pt).abs().gather(1, order)
        tail = ascending.cumsum(dim=-1) <= 1 - self.head
        whole = distance.sum(dim=-1)
        low = (distance * tail).sum(dim=-1)
        # Where both agree there is nothing to weigh: 0 / tiny is 0.
        tiny = torch.finfo(ps.dtype).tiny
        return (whole - low) / whole.clamp(min=tiny)
