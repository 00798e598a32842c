"""Sinkhorn distillation: optimal transport between what student and teacher say about a batch of
samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Labels, Logits, Mask, Scalar
from finetune.losses.base import Loss, check, precise


@dataclass(frozen=True, kw_only=True)
class Sinkhorn(Loss[Logits]):
    r"""scale x sum of P W: W the L1 distances between all student and teacher distributions of the
    batch, P the transport plan.

    P starts as exp(-W / smoothing) and is scaled to rows and columns of sum 1 in turns; the
    gradient goes through these turns. The counted tokens of the whole batch are the samples: for
    classifiers T is 1. With one sample it is the plain L1 distance.

    Args:
        smoothing: above 0; W goes up to 2 (the paper's code: 0.1).
        rounds: of scaling.
        temperature: of both distributions, above 0 (fixed at 2 in the paper's code).
        scale: times the sum, which grows with the number of samples (the paper's code: 0.001 for
            BERT, 0.0008 for GPT and T5).

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: a scalar, 0 or more; not 0 where both agree unless the smoothing is small against the
    distances.

    Raises:
        ValueError: a smoothing, temperature or number of rounds out of range, shapes that do not
            fit.

    Source: Cui et al., SinKD, arXiv:2402.17110, algorithm 1.

    Example:
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(Sinkhorn(temperature=1, scale=1)(student, teacher, torch.ones(1, 1))), 4)
        0.5
    """

    smoothing: float = 0.1
    rounds: int = 20
    temperature: float = 2.0
    scale: float = 0.001

    divergence: ClassVar[bool] = False
    couples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (
            not self.smoothing > 0
            or not self.temperature > 0
            or self.rounds < 1
        ):
            raise ValueError(
                f"smoothing={self.smoothing}, temperature={self.temperature}, "
                f"rounds={self.rounds}; use numbers above 0"
            )

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002
        denominator: float | None = None,  # noqa: ARG002
    ) -> Scalar:
        """`denominator` is not used: the plan couples all samples of a batch."""
        check(self, student_logits, teacher_logits, mask)
        counted = mask != 0
        dtype = precise(student_logits.dtype)
        if not counted.any():
            return student_logits.sum() * 0.0
        student = student_logits[counted].to(dtype) / self.temperature
        teacher = teacher_logits.detach()[counted].to(dtype) / self.temperature
        ours = student.softmax(dim=-1)
        theirs = teacher.softmax(dim=-1)
        cost = torch.cdist(ours, theirs, p=1)
        plan = torch.exp(-cost / self.smoothing)
        tiny = torch.finfo(dtype).tiny
        for _ in range(self.rounds):
            plan = plan / plan.sum(dim=1, keepdim=True).clamp(min=tiny)
            plan = plan / plan.sum(dim=0, keepdim=True).clamp(min=tiny)
        return self.scale * (plan * cost).sum()
