"""Skewed forward KL."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot, spare
from synth.core.errors import require_share


@dataclass(frozen=True, kw_only=True)
class SkewKl(Divergence):
    r"""KL(teacher || alpha teacher + (1 - alpha) student): bounded by -ln(alpha), so that no token
    dominates.

    Args:
        alpha: weight of the teacher in the mixture, 0 (forward KL) to below 1.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative; the KL, not the
    cross-entropy that DistiLLM's code returns.

    Raises:
        ValueError: an alpha outside 0 to below 1; shapes that do not fit.

    Source: Ko et al., DistiLLM, arXiv:2402.03898, equation 3.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(SkewKl()(student, teacher, torch.ones(1, 1))), 4)
        0.1131
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("alpha", self.alpha, below=True)

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """With q = (1 - alpha) ps pt / m: sum of pt (lt - log m), and ps sum(q) - q."""
        rest = 1 - self.alpha
        # 0 on paper; with it no term falls below 0 in floats.
        excess = rest * (ps.sum(dim=-1) - pt.sum(dim=-1))
        mixture = torch.lerp(ps, pt, self.alpha, out=spare("mixture", ps))
        mixture.clamp_(min=torch.finfo(ps.dtype).tiny)
        share = torch.mul(ps, pt, out=ls).div_(mixture).mul_(rest)
        gap = lt.sub_(mixture.log_())
        value = dot(pt, gap) + excess
        total = share.sum(dim=-1, keepdim=True)
        slope = ps.mul_(total).sub_(share)
        return value, slope
