"""Task-aware layer-wise distillation: filters pick what of a layer matters for the task, and those
are matched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from finetune.core.tensors import HiddenStates, Labels, Mask, Scalar
from finetune.losses.base import Compares, Loss
from finetune.losses.hidden_mse import HiddenMse

# A projection of a layer's states, of models of any width to one.
LayerFilter = Callable[[HiddenStates], HiddenStates]


@dataclass(frozen=True, kw_only=True)
class Ted(Loss[Sequence[HiddenStates]]):
    r"""Mean over pairs of layers of the squared difference of filtered states.

    A filter is a linear layer (`torch.nn.Linear`) of each layer of each model; those of the teacher
    are trained on the task first and held fixed, those of the student train along (section 3). Add
    it to the task's loss and a KL of `ForwardKl(temperature=2)`.

    Args:
        filter_steps: batches on which `finetune distill` trains the teacher's filters before the
            student begins; 0 leaves them as they are, which lets all through.
        filter_rate: of Adam in these steps.

    Shapes: student a sequence of L [B, T, H], teacher of L [B, T, G], mask [B, T]; student_filters
    and teacher_filters L callables each, to one width.

    Returns: a scalar; 0 where all filtered states agree, never negative. Padding does not count,
    unlike in the released code.

    Raises:
        ValueError: steps or a rate out of range, numbers of layers and filters that differ,
            shapes that do not fit.

    Source: Liang et al., TED, arXiv:2210.01351, equation 6.

    Example:
        >>> import torch
        >>> layers, same = [torch.ones(1, 2, 3)], [torch.nn.Identity()]
        >>> float(
        ...     Ted()(layers, layers, torch.ones(1, 2), student_filters=same, teacher_filters=same)
        ... )
        0.0
    """

    filter_steps: int = 100
    filter_rate: float = 1e-3

    needs: ClassVar[tuple[str, ...]] = ("student_filters", "teacher_filters")
    compares: ClassVar[Compares] = "filtered"

    def __post_init__(self) -> None:
        if self.filter_steps < 0 or not self.filter_rate > 0:
            raise ValueError(
                f"filter_steps={self.filter_steps}, filter_rate={self.filter_rate}; use 0 or more, "
                "and above 0"
            )

    def __call__(
        self,
        student_logits: Sequence[HiddenStates],
        teacher_logits: Sequence[HiddenStates],
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002
        denominator: float | None = None,
        student_filters: Sequence[LayerFilter] = (),
        teacher_filters: Sequence[LayerFilter] = (),
    ) -> Scalar:
        """Layers in the place of logits."""
        sizes = [len(student_logits), len(teacher_logits)]
        sizes += [len(student_filters), len(teacher_filters)]
        if len(set(sizes)) != 1 or not sizes[0]:
            raise ValueError(
                f"Ted: {sizes} student layers, teacher layers, student filters, teacher filters; "
                "use as many of each"
            )
        parts = zip(
            student_logits,
            teacher_logits,
            student_filters,
            teacher_filters,
            strict=True,
        )
        mse = HiddenMse()
        total = student_logits[0].new_zeros(())
        for student, teacher, of_student, of_teacher in parts:
            pair = (of_student(student), of_teacher(teacher))
            total = total + mse(*pair, mask, denominator=denominator)
        return total / sizes[0]
