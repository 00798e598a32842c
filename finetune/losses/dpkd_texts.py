"""Direct preference distillation over whole texts: the teacher's text over the student's."""

from __future__ import annotations

from dataclasses import dataclass
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
    check,
    divisor_of,
    label_logs,
    required,
)
from finetune.losses.reverse_kl import ReverseKl


@dataclass(frozen=True, kw_only=True)
class DpkdTexts(Loss[Logits]):
    r"""-ln sigmoid(beta (reward of the teacher's text - reward of the student's text)) + reverse_kl
    x KL(student || teacher) at each token of the student's text.

    The reward of a text is implicit: the sum over its tokens of ln student - ln teacher. It is what
    the student's probabilities are the optimum of, where a reward is earned and the reverse KL to
    the teacher is paid for.

    Args:
        beta: sharpness, above 0.
        normalise: a reward is divided by the tokens of its text, so that a longer text has no
            larger one.
        reverse_kl: weight of the reverse KL, 0 or more.

    Shapes: student and teacher logits [B, T, V], mask and labels [B, T], by_teacher [B] bool: who
        wrote each text; the k-th text of the teacher and the k-th of the student are a pair.

    Returns: nats, a scalar: the mean over pairs, and over the tokens of the student's texts. Not a
        divergence: ln 2 where both texts have the same reward.

    Raises:
        ValueError: a beta that is not above 0, a weight below 0, texts without a partner, no labels
            or by_teacher, shapes that do not fit.

    Source: Li et al., DPKD, arXiv:2406.19774: the preference over whole outputs; its reverse KL is
        within the implicit reward, and once more at each token where `reverse_kl` asks for it.

    Example:
        >>> student, teacher = (torch.tensor([[p], [p]]).log() for p in ((0.8, 0.2), (0.5, 0.5)))
        >>> value = DpkdTexts(beta=1.0)(
        ...     student,
        ...     teacher,
        ...     torch.ones(2, 1),
        ...     labels=torch.tensor([[0], [1]]),
        ...     by_teacher=torch.tensor([True, False]),
        ... )
        >>> round(float(value), 4)
        0.2231
    """

    beta: float = 0.1
    normalise: bool = True
    reverse_kl: float = 0.0

    divergence: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("labels", "by_teacher")

    def __post_init__(self) -> None:
        if not self.beta > 0 or not self.reverse_kl >= 0:
            raise ValueError(
                f"beta={self.beta}, reverse_kl={self.reverse_kl}; use a beta above 0 and a weight "
                "from 0 on"
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
        """`denominator` counts pairs."""
        check(
            self,
            student_logits,
            teacher_logits,
            mask,
            labels=labels,
            by_teacher=by_teacher,
        )
        by_teacher = required("by_teacher", by_teacher)
        value = self.preference(
            label_logs(student_logits, labels),
            label_logs(teacher_logits.detach(), labels),
            mask,
            by_teacher,
            denominator,
        )
        if not self.reverse_kl:
            return value
        own = mask * ~by_teacher[:, None]
        return value + self.reverse_kl * ReverseKl()(
            student_logits, teacher_logits, own
        )

    def preference(
        self,
        student_logs: LabelLogProbs,
        teacher_logs: LabelLogProbs,
        mask: Mask,
        by_teacher: PerSequence,
        denominator: float | None = None,
    ) -> Scalar:
        """The first term, from ln-probabilities [B, T] of the labels.

        Args:
            student_logs: with a gradient.
            teacher_logs: without.
            mask: [B, T].
            by_teacher: [B] who wrote each text.
            denominator: pairs of a larger batch; None for those of this one.

        Raises:
            ValueError: texts without a partner.
        """
        pairs = int(by_teacher.sum())
        if 2 * pairs != len(by_teacher):
            raise ValueError(
                f"DpkdTexts: {pairs} texts of the teacher and {len(by_teacher) - pairs} of the "
                "student; use a text of each to every prompt"
            )
        counted = mask != 0
        gaps = (student_logs - teacher_logs).masked_fill(~counted, 0.0)
        rewards = gaps.sum(dim=1)
        if self.normalise:
            rewards = rewards / counted.sum(dim=1).clamp(min=1)
        better = rewards[by_teacher] - rewards[~by_teacher]
        value = torch.nn.functional.softplus(-self.beta * better).sum()
        return value / divisor_of(denominator, pairs)
