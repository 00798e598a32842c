"""DistilBERT's triple: probabilities, the model's own task, and the direction of the last hidden
states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from finetune.core.tensors import HiddenStates, Labels, Logits, Mask, Scalar
from finetune.losses.base import Loss, check, label_logs, precise, required
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class Distilbert(Loss[Logits]):
    r"""soft T^2 KL(teacher || student at T) + hard CE(labels) + cosine (1 - cos(student state,
    teacher state)).

    Args:
        soft: weight of the probabilities (the paper's code: 5).
        hard: weight of the labels (2).
        cosine: weight of the directions (1).
        temperature: T, above 0 (2).

    Shapes: student and teacher logits [B, T, V], mask [B, T]; labels [B, T], those of masked
    language modelling -100 where there is none; student_states and teacher_states [B, T, H].

    Returns: a scalar; each part is a mean over its own tokens.

    Raises:
        ValueError: a temperature that is not above 0, shapes that do not fit, no states.

    Source: Sanh et al., DistilBERT, arXiv:1910.01108, section 3, weights of its code.

    Example:
        >>> import torch
        >>> logits, states = torch.tensor([[[0.5, 0.5]]]).log(), torch.ones(1, 1, 3)
        >>> more = {"labels": torch.zeros(1, 1), "student_states": states, "teacher_states": states}
        >>> found = Distilbert(hard=0)(logits, logits, torch.ones(1, 1), **more)
        >>> round(float(found), 6)
        0.0
    """

    soft: float = 5.0
    hard: float = 2.0
    cosine: float = 1.0
    temperature: float = 2.0

    divergence: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = (
        "labels",
        "student_states",
        "teacher_states",
    )

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}; use one above 0")

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
        student_states: HiddenStates | None = None,
        teacher_states: HiddenStates | None = None,
    ) -> Scalar:
        """The three parts."""
        check(
            self,
            student_logits,
            teacher_logits,
            mask,
            labels=labels,
            student_states=student_states,
            teacher_states=teacher_states,
        )
        soft = ForwardKl(temperature=self.temperature)(
            student_logits, teacher_logits, mask, denominator=denominator
        )
        counted = (mask != 0).to(precise(student_logits.dtype))
        tokens = counted.sum().clamp(min=1)
        distances = 1 - _cosines(
            required("student_states", student_states).to(counted.dtype),
            required("teacher_states", teacher_states)
            .detach()
            .to(counted.dtype),
        )
        cosine = self.cosine * (distances * counted).sum()
        return (
            self.soft * self.temperature**2 * soft
            + self.hard
            * _likelihood(student_logits, required("labels", labels))
            + cosine / (tokens if denominator is None else denominator)
        )


def _likelihood(logits: Logits, labels: Labels) -> Scalar:
    """Mean cross-entropy over the labels that are there."""
    there = labels >= 0
    logs = label_logs(logits, labels).masked_fill(~there, 0.0)
    return -logs.sum() / there.sum().clamp(min=1)


def _cosines(student: HiddenStates, teacher: HiddenStates) -> Mask:
    """[B, T] between the states of each token."""
    products = (student * teacher).sum(dim=-1)
    lengths: Mask = student.norm(dim=-1) * teacher.norm(dim=-1)
    return products / lengths.clamp(min=1e-8)
