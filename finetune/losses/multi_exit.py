"""Exits at several layers: weighted likelihoods, and distillation between a deep exit and shallow
ones, in either direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from finetune.core.tensors import Labels, Logits, Mask, Scalar
from finetune.losses.base import Compares, Loss, check, divisor_of, label_logs
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class MultiExit(Loss[Sequence[Logits]]):
    r"""Likelihoods of all exits, and T^2 KL from one exit, held fixed, to the others.

    `weighted`: sum of k CE_k / sum of k (PABEE). `deepest`: CE_K + sum over k < K of (1 - share)
    CE_k + share T^2 KL(p_K || p_k). `shallowest`: the same with the roles turned: the first exit
    teaches the deeper ones, as a regulariser.

    Args:
        teacher: which exit teaches; `weighted` for none.
        share: of the KL beside the likelihood, 0 to 1.
        temperature: T, above 0.

    Shapes: student a sequence of K logits [B, T, V], the shallowest first; teacher_logits is not
    looked at; mask and labels [B, T].

    Returns: nats a token, a scalar; not a divergence.

    Raises:
        ValueError: fewer than two exits, no labels, a share or temperature out of range, shapes
            that do not fit.

    Source: Zhou et al., PABEE, arXiv:2006.04152; Phuong and Lampert, 2019; self-distillation from
    lower layers.

    Example:
        >>> import torch
        >>> exits = [torch.tensor([[p]]).log() for p in ((0.5, 0.5), (0.25, 0.75))]
        >>> round(
        ...     float(
        ...         MultiExit()(
        ...             exits, None, torch.ones(1, 1), labels=torch.ones(1, 1, dtype=torch.long)
        ...         )
        ...     ),
        ...     4,
        ... )
        0.4228
    """

    teacher: Literal["weighted", "deepest", "shallowest"] = "weighted"
    share: float = 0.5
    temperature: float = 1.0

    divergence: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    compares: ClassVar[Compares] = "exits"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not self.temperature > 0:
            raise ValueError(
                f"share={self.share}, temperature={self.temperature}; use 0 to 1, and above 0"
            )

    def __call__(
        self,
        student_logits: Sequence[Logits],
        teacher_logits: object,  # noqa: ARG002
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
    ) -> Scalar:
        """A list of exits in the place of logits."""
        if len(student_logits) < 2:
            raise ValueError(
                f"MultiExit: {len(student_logits)} exits; use two or more"
            )
        for logits in student_logits:
            check(self, logits, logits, mask, labels=labels)
        counted = mask != 0
        tokens = divisor_of(denominator, counted.sum())
        nll = []
        for logits in student_logits:
            logs = label_logs(logits, labels).masked_fill(~counted, 0.0)
            nll.append(-logs.sum() / tokens)
        hard, soft, teacher = self.shares(len(nll))
        kl = ForwardKl(temperature=self.temperature)
        fixed = student_logits[teacher].detach()
        total = nll[0].new_zeros(())
        for depth, loss in enumerate(nll):
            total = total + hard[depth] * loss
            if soft[depth]:
                taught = kl(
                    student_logits[depth], fixed, counted, denominator=tokens
                )
                total = total + soft[depth] * taught
        return total

    def shares(self, count: int) -> tuple[list[float], list[float], int]:
        """Weights of each exit's likelihood and of its KL to the exit that teaches, and which one
        that is.

        >>> MultiExit(teacher="deepest", share=0.25, temperature=2.0).shares(2)
        ([0.75, 1.0], [1.0, 0.0], 1)
        """
        if self.teacher == "weighted":
            depths = range(1, count + 1)
            total = sum(depths)
            return [depth / total for depth in depths], [0.0] * count, 0
        teacher = count - 1 if self.teacher == "deepest" else 0
        hard = [1 - self.share] * count
        soft = [self.share * self.temperature**2] * count
        hard[teacher] = 1.0
        soft[teacher] = 0.0
        return hard, soft, teacher
