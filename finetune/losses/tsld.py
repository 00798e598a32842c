"""Token-scaled logit distillation: tokens that the teacher itself finds hard count more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import LabelLogProbs, Labels, Logits, Mask, Scalar
from finetune.losses.base import FLOOR, check, label_logs
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class Tsld(ForwardKl):
    r"""Sum over a sequence's tokens of w KL(teacher || student), w = softmax over its counted
    tokens of CE_teacher(label) / scale.

    Args:
        scale: above 0; large ones make the weights even (the paper: 10).
        temperature: of the divergence; see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T], labels [B, T].

    Returns: nats a sequence, a scalar: the mean over sequences. The released code sums over them,
    and lets masked tokens take weight.

    Raises:
        ValueError: a scale that is not above 0, no labels, shapes that do not fit.

    Source: Kim et al., TSLD, arXiv:2308.06744, equation 6.

    Example:
        >>> student, teacher = (torch.tensor([[p, p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(
        ...     float(
        ...         Tsld()(
        ...             student,
        ...             teacher,
        ...             torch.ones(1, 2),
        ...             labels=torch.zeros(1, 2, dtype=torch.long),
        ...         )
        ...     ),
        ...     4,
        ... )
        0.1438
    """

    scale: float = 10.0

    needs: ClassVar[tuple[str, ...]] = ("labels",)
    reweighs: ClassVar[bool] = True
    parts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale > 0:
            raise ValueError(f"scale={self.scale}; use one above 0")

    def reweighed(self, teacher_losses: LabelLogProbs, mask: Mask) -> Mask:
        """Weights that add up to 1 in each sequence that has a counted token."""
        scores = teacher_losses.clamp(max=-FLOOR) / self.scale
        counted = scores.masked_fill(mask == 0, -torch.inf)
        return counted.softmax(dim=-1).nan_to_num(0.0)

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
    ) -> Scalar:
        """`denominator` counts sequences."""
        check(self, student_logits, teacher_logits, mask, labels=labels)
        nll = -label_logs(teacher_logits.detach(), labels)
        weights = self.reweighed(nll.masked_fill(mask == 0, 0.0), mask)
        sequences = len(mask) if denominator is None else denominator
        return super().__call__(
            student_logits,
            teacher_logits,
            weights,
            labels=labels,
            denominator=sequences,
        )
