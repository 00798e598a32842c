"""Reverse KL: the student avoids what the teacher finds unlikely."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot


@dataclass(frozen=True, kw_only=True)
class ReverseKl(Divergence):
    r"""KL(student || teacher). Mode seeking: start from a student that is warm, a cold one learns
    slowly.

    Args:
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative. A teacher's logit of -inf
    costs 10,000 nats times the student's probability there.

    Raises:
        ValueError: shapes that do not fit, a temperature that is not above 0.

    Source: Gu et al., MiniLLM, arXiv:2306.08543 (there of whole sequences); Ko et al., DistiLLM,
    arXiv:2402.03898, section 3.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(ReverseKl()(student, teacher, torch.ones(1, 1))), 4)
        0.1308
    """

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Sum of ps (ls - lt), and ps (ls - lt - that sum)."""
        excess = pt.sum(dim=-1) - ps.sum(dim=-1)
        gap = ls.sub_(lt)
        mean = dot(ps, gap)
        return mean + excess, gap.sub_(mean[:, None]).mul_(ps)
