"""A teacher's distribution over every text of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.list_losses.base import ListLoss, Lists, in_batch, kl

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class BatchKl(ListLoss):
    r"""KL(softmax(t / T) || softmax(s)) over the texts of all lists of the batch.

    The teacher scores each of them for each query while the student trains, so no scores stand in
    the rows. A teacher with a vector a token (`--teacher-kind multi`) is TCT-ColBERT.

    Args:
        teacher_temperature: T, above 0; the paper's code has 0.25 for sums of best cosines.
        label: weight of the likelihood of each query's first text (InfoNCE) besides, 0 or more.

    Shapes: queries [B, D], documents [B, n, D], mask [B, n], teacher_scores [B, B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no teacher.

    Source: Lin et al., TCT-ColBERT, arXiv:2010.11386, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(BatchKl()(example(teacher=example()))), 4)
        0.1913
    """

    teacher_temperature: float = 0.25
    label: float = 0.0

    needs: ClassVar[tuple[str, ...]] = ("teacher",)
    above_zero: ClassVar[tuple[str, ...]] = ("teacher_temperature",)
    teacher_kinds: ClassVar[tuple[str, ...]] = (
        "bi",
        "multi",
        "sparse",
        "heads",
        "pair",
    )

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        wanted = lists.taught_scores() / self.teacher_temperature
        loss = kl(
            wanted.flatten(1), lists.all().flatten(1), lists.seen().flatten(1)
        ).mean()
        if not self.label:
            return loss
        return loss + self.label * in_batch(lists).mean()
