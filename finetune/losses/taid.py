"""Temporally adaptive interpolated distillation: the target moves from the student to the
teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import ClassVar

from finetune.core.tensors import RowLabels, RowLogits, ValuesAndSlopes
from finetune.losses.base import TokenLoss, finite_
from finetune.losses.forward_kl import ForwardKl
from synth.core.errors import require_share


@dataclass(frozen=True, kw_only=True)
class Taid(TokenLoss):
    r"""KL(target || student), target = softmax((1 - t) student + t teacher) with the student's
    logits held fixed.

    `TaidSchedule` moves t; within a step it is constant, however many batches are accumulated.

    Args:
        t: place between student (0) and teacher (1), in a training the first one.
        end: the last one.
        alpha: see `TaidSchedule`.
        beta: see `TaidSchedule`.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; 0 where both agree, never negative. The released code returns
    the cross-entropy, which contains the target's own entropy.

    Raises:
        ValueError: a t, end or beta out of range; shapes that do not fit.

    Source: Shing et al., TAID, arXiv:2501.16937, section 3 and algorithm 1.

    Example:
        >>> import torch
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(float(Taid()(student, teacher, torch.ones(1, 1))), 4)
        0.0206
    """

    t: float = 0.4
    end: float = 1.0
    alpha: float = 5e-4
    beta: float = 0.99

    parts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("t", self.t)
        require_share("end", self.end)
        require_share("beta", self.beta, below=True)

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,
    ) -> ValuesAndSlopes:
        """Forward KL to the interpolated logits."""
        gap = finite_(teacher).sub_(finite_(student))
        target = gap.mul_(self.t).add_(student)
        return ForwardKl().rows(student, target, labels)


@dataclass
class TaidSchedule:
    """Where t stands: at least on a line from start to end, further where the loss falls.

    Args:
        steps: optimiser steps in all.
        start: t at first.
        end: t at last.
        alpha: step size. At the default, t runs ahead of the line only in runs of more than some
            4,000 steps.
        beta: momentum of the relative change of the loss.

    Example:
        >>> schedule = TaidSchedule(steps=10)
        >>> [round(schedule.update(loss), 2) for loss in (1.0, 0.9)]
        [0.4, 0.46]
    """

    steps: int
    start: float = 0.4
    end: float = 1.0
    alpha: float = 5e-4
    beta: float = 0.99
    step: int = 0
    t: float = 0.0
    momentum: float = 0.0
    last: float | None = None

    def update(self, loss: float) -> float:
        """T for the next optimiser step, from the mean loss of the last one over all its batches
        and processes.
        """
        if self.last is None:
            self.t = self.start
        else:
            change = (self.last - loss) / (self.last + 1e-15)
            self.momentum = self.beta * self.momentum + (1 - self.beta) * change
            self.step += 1
            ahead = self.t + self.alpha * (1 - self.t) / (
                1 + exp(-self.momentum)
            )
            line = self.start + (self.end - self.start) * self.step / self.steps
            self.t = min(self.end, max(line, ahead))
        self.last = loss
        return self.t
