"""DistilBERT's triple: probabilities, the model's own task, and the direction of the last hidden
states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from finetune.losses.base import Loss, check, label_logs, precise
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class Distilbert(Loss):
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
        student_logits: Any,
        teacher_logits: Any,
        mask: Any,
        *,
        labels: Any = None,
        denominator: float | None = None,
        student_states: Any = None,
        teacher_states: Any = None,
    ) -> Any:
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
        dtype = precise(student_logits.dtype)
        soft = ForwardKl(temperature=self.temperature)(
            student_logits, teacher_logits, mask, denominator=denominator
        )
        counted = (mask != 0).to(dtype)
        count = (
            denominator
            if denominator is not None
            else counted.sum().clamp(min=1)
        )
        one = student_states.to(dtype)
        two = teacher_states.detach().to(dtype)
        cosine = (one * two).sum(dim=-1) / (
            one.norm(dim=-1) * two.norm(dim=-1)
        ).clamp(min=1e-8)
        known = labels >= 0
        hard = -(
            label_logs(student_logits, labels).masked_fill(~known, 0.0)
        ).sum() / known.sum().clamp(min=1)
        return (
            self.soft * self.temperature**2 * soft
            + self.hard * hard
            + self.cosine * ((1 - cosine) * counted).sum() / count
        )
