"""Exits at several layers: weighted likelihoods, and distillation between a deep exit and shallow
ones, in either direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from finetune.losses.base import Loss, check, label_logs
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class MultiExit(Loss):
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

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not self.temperature > 0:
            raise ValueError(
                f"share={self.share}, temperature={self.temperature}; use 0 to 1, and above 0"
            )

    def __call__(
        self,
        student_logits: Sequence[Any],
        teacher_logits: Any,  # noqa: ARG002
        mask: Any,
        *,
        labels: Any = None,
        denominator: float | None = None,
    ) -> Any:
        """A list of exits in the place of logits."""
        if len(student_logits) < 2:
            raise ValueError(
                f"MultiExit: {len(student_logits)} exits; use two or more"
            )
        for one in student_logits:
            check(self, one, one, mask, labels=labels)
        counted = mask != 0
        tokens = (
            float(denominator)
            if denominator is not None
            else float(max(1, int(counted.sum())))
        )
        nll = [
            -label_logs(logits, labels).masked_fill(~counted, 0.0).sum()
            / tokens
            for logits in student_logits
        ]
        if self.teacher == "weighted":
            return sum(k * loss for k, loss in enumerate(nll, 1)) / sum(
                range(1, len(nll) + 1)
            )
        place = len(nll) - 1 if self.teacher == "deepest" else 0
        kl = ForwardKl(temperature=self.temperature)
        total = nll[place]
        for k, loss in enumerate(nll):
            if k != place:
                soft = kl(
                    student_logits[k],
                    student_logits[place].detach(),
                    counted,
                    denominator=tokens,
                )
                total = (
                    total
                    + (1 - self.share) * loss
                    + self.share * self.temperature**2 * soft
                )
        return total
