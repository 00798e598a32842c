"""Contrastive distillation (DistiLLM-2): up towards what the teacher wrote, down from what the
student wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from finetune.core.tensors import (
    LabelLogProbs,
    Labels,
    Logits,
    Mask,
    PerSequence,
    Scalar,
)
from finetune.losses.base import (
    Loss,
    TokenLoss,
    check,
    divisor_of,
    label_logs,
    required,
)
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
        beta: of the student's texts, 0 to 2; with `curriculum` at the beginning.
        curriculum: the paper's alpha for each sequence, and a beta that rises over a training.
        beta_end: beta at the end of a training with `curriculum`.

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
    beta_end: float = 1.5

    needs: ClassVar[tuple[str, ...]] = ("by_teacher",)

    def __post_init__(self) -> None:
        betas = (self.beta, self.beta_end)
        if not 0 <= self.alpha < 1 or min(betas) < 0 or max(betas) > 2:
            raise ValueError(
                f"alpha={self.alpha}, beta={self.beta}, beta_end={self.beta_end}; use 0 to below "
                "1, and 0 to 2"
            )

    def at(self, done: float) -> Contrastive:
        """With the beta of this place of a training.

        >>> [Contrastive(curriculum=True).at(done).beta for done in (0.0, 0.5, 1.0)]
        [1.0, 1.25, 1.5]
        """
        if not self.curriculum:
            return self
        beta = self.beta + done * (self.beta_end - self.beta)
        return replace(self, beta=beta)

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
        logs: list[LabelLogProbs] = []
        if self.curriculum:
            if labels is None:
                raise ValueError("Contrastive(curriculum=True) needs labels=")
            logs = [
                label_logs(logits.detach().double(), labels)
                for logits in (student_logits, teacher_logits)
            ]
        total = student_logits.sum() * 0.0
        parts = self.of_each(mask, by_teacher, logs, denominator)
        for number, (loss, weight) in enumerate(parts):
            row = slice(number, number + 1)
            value = loss(student_logits[row], teacher_logits[row], mask[row])
            total = total + weight * value
        return total

    def of_each(
        self,
        mask: Mask,
        by_teacher: PerSequence,
        logs: Sequence[LabelLogProbs] = (),
        denominator: float | None = None,
    ) -> list[tuple[TokenLoss, float]]:
        """The loss of each text, a mean over its tokens, and its weight in the sum.

        Args:
            mask: [B, T].
            by_teacher: [B] who wrote each text.
            logs: ln-probabilities [B, T] of the labels under the student and under the teacher; for
                the curriculum.
            denominator: pairs of a larger batch; None for those of this one.
        """
        alphas = [self.alpha] * len(mask)
        if self.curriculum:
            alphas = self.alphas(logs[0], logs[1], mask, by_teacher)
        of_teacher = divisor_of(denominator, by_teacher.sum())
        of_student = divisor_of(denominator, (~by_teacher).sum())
        parts: list[tuple[TokenLoss, float]] = []
        for alpha, theirs in zip(alphas, by_teacher.tolist(), strict=True):
            if theirs:
                weight = (2 - self.beta) / of_teacher
                parts.append((SkewKl(alpha=alpha), weight))
            else:
                loss = SkewReverseKl(alpha=alpha, detach=True)
                parts.append((loss, self.beta / of_student))
        return parts

    def alphas(
        self,
        student_logs: LabelLogProbs,
        teacher_logs: LabelLogProbs,
        mask: Mask,
        by_teacher: PerSequence,
    ) -> list[float]:
        """Alpha of each sequence: 1 - (1 - alpha0) M / (P - Q), P and Q the mean token
        probabilities of its author and of the other model.

        M is the mean of P - Q over the batch's texts of that author. Between 0.01 and alpha0.
        """
        teacher = _likely(teacher_logs, mask)
        student = _likely(student_logs, mask)
        gaps = torch.where(by_teacher, teacher - student, student - teacher)
        alphas = torch.empty_like(gaps)
        for side in (by_teacher, ~by_teacher):
            if side.any():
                mean = (1 - self.alpha) * gaps[side].mean()
                alphas[side] = 1 - mean / (gaps[side] + 1e-5)
        bounded = alphas.clamp(0.01, max(0.01, self.alpha))
        return [float(alpha) for alpha in bounded.nan_to_num(self.alpha)]


def _likely(logs: LabelLogProbs, mask: Mask) -> PerSequence:
    """[B] geometric mean of the labels' probabilities."""
    counted = mask != 0
    total = logs.double().masked_fill(~counted, 0.0).sum(dim=1)
    return (total / counted.sum(dim=1).clamp(min=1)).exp()
