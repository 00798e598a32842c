"""Relational distillation: distances and angles between the samples of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from finetune.losses.base_features import FeatureLoss, pooled


@dataclass(frozen=True, kw_only=True)
class Rkd(FeatureLoss):
    r"""distance x Huber of pairwise distances + angle x Huber of angles, between teacher and
    student, over the vectors of a batch.

    Distances are divided by the mean of the positive ones of their side. A vector is the mean of a
    sequence's counted states. Angles take memory of the batch cubed.

    Args:
        distance: weight of the distances (the paper: 1).
        angle: weight of the angles (the paper: 2).

    Shapes: student states [B, T, H], teacher states [B, T, G], of any widths; mask [B, T].

    Returns: a scalar, the mean over all pairs (with themselves) and triples; 0 where both
    geometries agree.

    Raises:
        ValueError: shapes that do not fit.

    Source: Park et al., Relational Knowledge Distillation, arXiv:1904.05068, equations 5 to 9.

    Example:
        >>> student, teacher = (
        ...     torch.tensor([[[0.0]], [[1.0]]]),
        ...     torch.tensor([[[0.0, 0.0]], [[0.0, 9.0]]]),
        ... )
        >>> float(Rkd()(student, teacher, torch.ones(2, 1)))
        0.0
    """

    distance: float = 1.0
    angle: float = 2.0

    divergence: ClassVar[bool] = True

    def compare(self, student: Any, teacher: Any, mask: Any) -> Any:
        """Both Huber losses."""
        one = pooled(student, mask)
        two = pooled(teacher, mask)
        huber = torch.nn.functional.smooth_l1_loss
        total = self.distance * huber(_distances(one), _distances(two))
        if self.angle:
            return total + self.angle * huber(_angles(one), _angles(two))
        return total


def _distances(vectors: Any) -> Any:
    squared = (vectors[:, None] - vectors[None]).pow(2).sum(dim=-1)
    same = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    found = squared.clamp(min=1e-12).sqrt().masked_fill(same, 0.0)
    positive = found > 1e-6
    mean = found[positive].mean() if positive.any() else found.new_ones(())
    return found / mean


def _angles(vectors: Any) -> Any:
    """[B, B, B] cosines at each vector between two others."""
    unit = torch.nn.functional.normalize(
        vectors[None] - vectors[:, None], dim=-1, eps=1e-6
    )
    return unit @ unit.transpose(1, 2)
