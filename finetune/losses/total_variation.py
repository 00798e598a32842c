"""Total variation distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Divergence):
    r"""Half the sum of |teacher - student| over the vocabulary.

    Args:
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 to 1, 0 where both agree.

    Raises:
        ValueError: shapes that do not fit, a temperature that is not above 0.

    Source: Wen et al., f-DISTILL, arXiv:2307.15190, section 3.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(TotalVariation()(student, teacher, torch.ones(1, 1))), 4)
        0.25
    """

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,  # noqa: ARG002
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Gradient ps (s - sum of ps s) / 2, s the sign of ps - pt."""
        gap = torch.sub(ps, pt, out=ls)
        value = 0.5 * gap.abs().sum(dim=-1)
        sign = gap.sign_()
        return value, sign.sub_(dot(ps, sign)[:, None]).mul_(ps).mul_(0.5)
