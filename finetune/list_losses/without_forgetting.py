"""A teacher's list, and what the student itself thought before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, kl


@dataclass(frozen=True, kw_only=True)
class WithoutForgetting(ListLoss):
    r"""label NLL + teacher T^2 KL(softmax(t / T) || softmax(s / T)) + before T^2 KL(softmax(s_old /
    T) || softmax(s / T)).

    One rung of a ladder of teachers: each stage starts from the last one's student, with fresh
    negatives and a stronger teacher's scores.

    Args:
        label: weight of the first text's likelihood in its list.
        teacher: weight of the teacher's distribution.
        before: weight of the old student's.
        temperature: T.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets, or no vectors of the old student.

    Source: Lin et al., PROD, arXiv:2209.13335, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(WithoutForgetting()(example(teacher=example()))), 4)
        0.177
    """

    label: float = 0.1
    teacher: float = 0.9
    before: float = 1.0
    temperature: float = 4.0

    needs: ClassVar[tuple[str, ...]] = ("targets", "teacher")
    least: ClassVar[Least] = "list"
    above_zero: ClassVar[tuple[str, ...]] = ("temperature",)
    previous: ClassVar[bool] = True

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        scores = lists.own()
        square = self.temperature**2
        likelihood = torch.logsumexp(scores, dim=1) - scores[:, 0]
        learned = square * kl(
            lists.wanted(), scores, lists.mask, self.temperature
        )
        kept = square * kl(
            lists.taught().own().detach(), scores, lists.mask, self.temperature
        )
        return (
            self.label * likelihood
            + self.teacher * learned
            + self.before * kept
        ).mean()
