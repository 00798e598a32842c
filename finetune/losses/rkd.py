"""Relational distillation: distances and angles between the samples of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from finetune.core.list_tensors import Vectors
from finetune.core.tensors import HiddenStates, Mask, Scalar
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
    couples: ClassVar[bool] = True

    def compare(
        self, student: HiddenStates, teacher: HiddenStates, mask: Mask
    ) -> Scalar:
        """Both Huber losses."""
        ours = pooled(student, mask)
        theirs = pooled(teacher, mask)
        huber = torch.nn.functional.smooth_l1_loss
        distance = huber(_distances(ours), _distances(theirs))
        total = self.distance * distance
        if not self.angle:
            return total
        angle = huber(_angles(ours), _angles(theirs))
        return total + self.angle * angle


def _distances(vectors: Vectors) -> Tensor:
    """[B, B] distances, in units of their mean."""
    gaps = vectors[:, None] - vectors[None]
    squared = gaps.pow(2).sum(dim=-1)
    same = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    # The root of 0 has no slope: 1e-12 stands below every square.
    distances = squared.clamp(min=1e-12).sqrt().masked_fill(same, 0.0)
    positive = distances > 1e-6
    if not positive.any():
        return distances
    return distances / distances[positive].mean()


def _angles(vectors: Vectors) -> Tensor:
    """[B, B, B] cosines at each vector between two others."""
    gaps = vectors[None] - vectors[:, None]
    unit = torch.nn.functional.normalize(gaps, dim=-1, eps=1e-6)
    return unit @ unit.transpose(1, 2)
