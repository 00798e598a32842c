"""Losses over hidden states: what they share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from finetune.core.list_tensors import Vectors
from finetune.core.tensors import HiddenStates, Labels, Mask, Scalar
from finetune.losses.base import Compares, Loss, divisor_of, precise


class FeatureLoss(Loss[HiddenStates]):
    """A loss that compares hidden states, by autograd, in fp32 or better; an empty mask gives 0
    with a gradient of 0.

    The widths of student and teacher may differ where the loss allows it; no gradient goes to the
    teacher.
    """

    same_tokenizer: ClassVar[bool] = True
    compares: ClassVar[Compares] = "states"
    same_width: ClassVar[bool] = False

    @abstractmethod
    def compare(
        self, student: HiddenStates, teacher: HiddenStates, mask: Mask
    ) -> Scalar:
        """The loss of states [B, T, H] and [B, T, G] under a mask [B, T] bool, which counts
        something.
        """

    def __call__(
        self,
        student_logits: HiddenStates,
        teacher_logits: HiddenStates,
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002
        denominator: float | None = None,
    ) -> Scalar:
        """The loss of states in the place of logits; `denominator` are the tokens of a larger
        batch, for a loss that does not couple its samples.

        Raises:
            ValueError: shapes that do not fit.
        """
        name = type(self).__name__
        student = student_logits
        teacher = teacher_logits
        same = student.shape[:2] == teacher.shape[:2] == mask.shape
        if student.dim() != 3 or not same:
            raise ValueError(
                f"{name}: student {tuple(student.shape)}, teacher {tuple(teacher.shape)}, mask "
                f"{tuple(mask.shape)}; use [B, T, H], "
                "[B, T, G] and [B, T]"
            )
        if self.same_width and student.shape != teacher.shape:
            raise ValueError(
                f"{name}: widths {student.shape[-1]} and {teacher.shape[-1]}; use the same, or "
                "project the student's first"
            )
        counted = mask != 0
        if not counted.any():
            return student.sum() * 0.0
        dtype = precise(student.dtype)
        value = self.compare(
            student.to(dtype), teacher.detach().to(dtype), counted
        )
        if self.couples or denominator is None:
            return value
        tokens = counted.sum()
        return value * (tokens / divisor_of(denominator, tokens))


def pooled(states: HiddenStates, mask: Mask) -> Vectors:
    """[B, H] means of counted states; sequences without any are left out."""
    weights = mask[:, :, None].to(states.dtype)
    counts = weights.sum(dim=1)
    kept = counts[:, 0] > 0
    return ((states * weights).sum(dim=1) / counts.clamp(min=1))[kept]
