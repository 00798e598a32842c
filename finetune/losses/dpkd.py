"""Direct preference distillation: the teacher's favourite token over the student's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import RowLabels, RowLogits, ValuesAndSlopes
from finetune.losses.base import TokenLoss, finite_


@dataclass(frozen=True, kw_only=True)
class Dpkd(TokenLoss):
    r"""-ln sigmoid(beta h), h = (ls[a] - ls[b]) - (lt[a] - lt[b]), a the teacher's likeliest token
    and b the student's.

    Args:
        beta: sharpness, above 0.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; ln 2 without gradient where both favour the same token; not a
    divergence.

    Raises:
        ValueError: a beta that is not above 0; shapes that do not fit.

    Source: Li et al., DPKD, arXiv:2406.19774; the token-level form of the released code.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(Dpkd()(student, teacher, torch.ones(1, 1))), 4)
        0.6931
    """

    beta: float = 0.1

    divergence: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta}; use one above 0")

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,  # noqa: ARG002
    ) -> ValuesAndSlopes:
        """Gradient -beta sigmoid(-beta h) at a, and its opposite at b."""
        finite_(student)
        finite_(teacher)
        better = teacher.argmax(dim=-1, keepdim=True)
        own = student.argmax(dim=-1, keepdim=True)
        gap = (
            student.gather(1, better)
            - student.gather(1, own)
            - teacher.gather(1, better)
            + teacher.gather(1, own)
        )[:, 0]
        push = -self.beta * torch.sigmoid(-self.beta * gap)[:, None]
        slope = (
            student.zero_()
            .scatter_add_(1, better, push)
            .scatter_add_(1, own, -push)
        )
        return torch.nn.functional.softplus(-self.beta * gap), slope
