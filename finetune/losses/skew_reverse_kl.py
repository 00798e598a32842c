"""Skewed reverse KL."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot, spare
from synth.core.errors import require_share


@dataclass(frozen=True, kw_only=True)
class SkewReverseKl(Divergence):
    r"""KL(student || alpha student + (1 - alpha) teacher): finite where the teacher gives nothing.

    Args:
        alpha: weight of the student in the mixture, 0 (reverse KL) to below 1.
        detach: no gradient through the mixture, as in DistiLLM-2; values are the same.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative.

    Raises:
        ValueError: an alpha outside 0 to below 1; shapes that do not fit.

    Source: Ko et al., DistiLLM, arXiv:2402.03898, equation 4; DistiLLM-2, arXiv:2503.07067.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(SkewReverseKl()(student, teacher, torch.ones(1, 1))), 4)
        0.107
    """

    alpha: float = 0.1
    detach: bool = False

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
        """With g = ls - log m (+ 1 - alpha ps / m): sum of ps (ls - log m), and ps (g - sum of ps
        g).
        """
        # 0 on paper; with it no term falls below 0 in floats.
        excess = (1 - self.alpha) * (pt.sum(dim=-1) - ps.sum(dim=-1))
        mixture = torch.lerp(pt, ps, self.alpha, out=spare("mixture", ps))
        mixture.clamp_(min=torch.finfo(ps.dtype).tiny)
        through = None
        if not self.detach:
            # Before the mixture's buffer becomes its logarithm.
            through = torch.div(ps, mixture, out=lt).mul_(-self.alpha).add_(1)
        gap = ls.sub_(mixture.log_())
        value = dot(ps, gap) + excess
        slope = gap if through is None else gap.add_(through)
        mean = dot(ps, slope)
        return value, slope.sub_(mean[:, None]).mul_(ps)
