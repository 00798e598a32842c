"""Generalised Jensen-Shannon divergence."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowLogProbs, RowProbabilities, ValuesAndSlopes
from finetune.losses.base import Divergence, dot, spare
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.reverse_kl import ReverseKl
from synth.core.errors import require_share


@dataclass(frozen=True, kw_only=True)
class Jsd(Divergence):
    r"""beta KL(teacher || m) + (1 - beta) KL(student || m), m = beta teacher + (1 - beta) student.

    At beta 0 it is KL(teacher || student) and at 1 KL(student || teacher), as in TRL. The
    divergence itself goes to 0 at both ends: values do not go over into these limits (near 0 it is
    beta times the first).

    Args:
        beta: weight of the teacher in the mixture, 0 to 1. Some codes call beta the student's
            weight.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative, at most ln 2 between the
    ends.

    Raises:
        ValueError: a beta outside 0 to 1; shapes that do not fit.

    Source: Agarwal et al., GKD, arXiv:2306.13649, section 2.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(Jsd()(student, teacher, torch.ones(1, 1))), 4)
        0.0338
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("beta", self.beta)

    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Its own limits are the two KLs."""
        if self.beta == 0:
            return ForwardKl().diverge(ls, ps, lt, pt)
        if self.beta == 1:
            return ReverseKl().diverge(ls, ps, lt, pt)
        mixture = torch.lerp(ps, pt, self.beta, out=spare("mixture", ps))
        middle = mixture.clamp_(min=torch.finfo(ps.dtype).tiny).log_()
        of_teacher = dot(pt, lt.sub_(middle))
        gap = ls.sub_(middle)
        of_student = dot(ps, gap)
        value = self.beta * of_teacher + (1 - self.beta) * of_student
        slope = gap.sub_(of_student[:, None]).mul_(ps).mul_(1 - self.beta)
        return value, slope
