"""Contrastive distillation (DistiLLM-2): up towards what the teacher wrote, down from what the
student wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Labels, Logits, Mask, PerSequence, Scalar
from finetune.losses.base import Loss, check, divisor_of, label_logs, required
from finetune.losses.skew_kl import SkewKl
from finetune.losses.skew_reverse_kl import SkewReverseKl


@dataclass(frozen=True, kw_only=True)
class Contrastive(Loss[Logits]):
    r"""(2 - beta) x mean of skewed KL over the teacher's texts + beta x mean of skewed reverse KL
    over the student's texts.

    The mixture of the reverse part is held fixed. With `curriculum` each sequence has an alpha of
    its own, by how far its author is ahead of the other model, as the paper has it (the released
    trainer leaves it off); no gradient goes through it.

    Args:
        alpha: weight of the other side in both mixtures, 0 to below 1; with `curriculum` the
            largest.
        beta: of the student's texts, 0 to 2.
        curriculum: the paper's alpha for each sequence.

    Shapes: student and teacher logits [B, T, V], mask [B, T], by_teacher [B] bool: who wrote each
    text.

    Returns: nats a token, a scalar; means of sequence means. 0 where both agree, never negative.

    Raises:
        ValueError: an alpha or beta out of range, no by_teacher, shapes that do not fit.

    Source: Ko et al., DistiLLM-2, arXiv:2503.07067, equations 5 to 8.

    Example:
        >>> student, teacher = (torch.tensor([[p], [p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(
        ...     float(
        ...         Contrastive()(
        ...             student, teacher, torch.ones(2, 1), by_teacher=torch.tensor([True, False])
        ...         )
        ...     ),
        ...     4,
        ... )
        0.2202
    """

    alpha: float = 0.1
    beta: float = 1.0
    curriculum: bool = False

    needs: ClassVar[tuple[str, ...]] = ("by_teacher",)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1 or not 0 <= self.beta <= 2:
            raise ValueError(
                f"alpha={self.alpha}, beta={self.beta}; use 0 to below 1, and 0 to 2"
            )

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
        by_teacher: PerSequence | None = None,
    ) -> Scalar:
        """`denominator` counts pairs; `labels` are needed for the curriculum alone."""
        check(self, student_logits, teacher_logits, mask, by_teacher=by_teacher)
        by_teacher = required("by_teacher", by_teacher)
        alphas = [self.alpha] * len(mask)
        if self.curriculum:
            alphas = self.alphas(
                student_logits, teacher_logits, mask, labels, by_teacher
            )
        of_teacher = divisor_of(denominator, by_teacher.sum())
        of_student = divisor_of(denominator, (~by_teacher).sum())
        total = student_logits.sum() * 0.0
        for number, alpha in enumerate(alphas):
            row = slice(number, number + 1)
            sides = (student_logits[row], teacher_logits[row], mask[row])
            if by_teacher[number]:
                value = SkewKl(alpha=alpha)(*sides)
                total = total + (2 - self.beta) * value / of_teacher
            else:
                value = SkewReverseKl(alpha=alpha, detach=True)(*sides)
                total = total + self.beta * value / of_student
        return total

    def alphas(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        labels: Labels | None,
        by_teacher: PerSequence,
    ) -> list[float]:
        """Alpha of each sequence: 1 - (1 - alpha0) M / (P - Q), P and Q the mean token
        probabilities of its author and of the other model.

        M is the mean of P - Q over the batch's texts of that author. Between 0.01 and alpha0.
        """
        if labels is None:
            raise ValueError("Contrastive(curriculum=True) needs labels=")
        teacher = _likely(teacher_logits, labels, mask)
        student = _likely(student_logits, labels, mask)
        gaps = torch.where(by_teacher, teacher - student, student - teacher)
        alphas = torch.empty_like(gaps)
        for side in (by_teacher, ~by_teacher):
            if side.any():
                mean = (1 - self.alpha) * gaps[side].mean()
                alphas[side] = 1 - mean / (gaps[side] + 1e-5)
        bounded = alphas.clamp(0.01, max(0.01, self.alpha))
        return [float(alpha) for alpha in bounded.nan_to_num(self.alpha)]


def _likely(logits: Logits, labels: Labels, mask: Mask) -> PerSequence:
    """[B] exp of the mean log-probability of the counted labels."""
    with torch.no_grad():
        logs = label_logs(logits.detach().double(), labels)
        counted = mask != 0
        total = logs.masked_fill(~counted, 0.0).sum(dim=1)
        return (total / counted.sum(dim=1).clamp(min=1)).exp()
