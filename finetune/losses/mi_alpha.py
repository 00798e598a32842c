"""Mutual information between teacher and student states: a bound between few and many samples'
variance and bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch

from finetune.core.tensors import HiddenStates, Mask, PerSequence, Scalar
from finetune.losses.base_features import FeatureLoss, pooled


@dataclass(frozen=True, kw_only=True)
class MiAlpha(FeatureLoss):
    r"""Minus the interpolated lower bound of the mutual information, over the samples of a batch.

    With f(x, y) the scaled cosine of a student's and a teacher's vector, m(y) the mean over the
    batch of exp f(x_i, y), and q = 1: I = 1 + E[ln exp f(x, y) / (alpha m(y) + (1 - alpha) q)] - E
    over unpaired y of [exp f(x, y) / (alpha m'(y) + (1 - alpha) q)], where m' leaves out the x that
    belongs to y. alpha 1 is bounded by the logarithm of the batch and of low variance (InfoNCE),
    alpha 0 is unbounded (NWJ).

    Args:
        alpha: 0 to 1 (the study found 0.9 good).
        scale: of the cosine, above 0.

    Shapes: student and teacher states [B, T, H] of one width (project them first), mask [B, T]; a
    sequence's mean state is its vector.

    Returns: minus nats, a scalar to minimise; it may be negative, and is not 0 where both agree.

    Raises:
        ValueError: an alpha out of range, widths that differ, shapes that do not fit.

    Source: He et al., Distiller, arXiv:2109.11105, section 3; bound of Poole et al.,
    arXiv:1905.06922, equation 12.

    Example:
        >>> states = torch.eye(3)[:, None]
        >>> round(float(MiAlpha(alpha=1.0, scale=50.0)(states, states, torch.ones(3, 1))), 3)
        -1.099
    """

    alpha: float = 0.9
    scale: float = 10.0

    divergence: ClassVar[bool] = False
    couples: ClassVar[bool] = True
    same_width: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or not self.scale > 0:
            raise ValueError(
                f"alpha={self.alpha}, scale={self.scale}; use 0 to 1, and above 0"
            )

    def compare(
        self, student: HiddenStates, teacher: HiddenStates, mask: Mask
    ) -> Scalar:
        """In logarithms throughout."""
        normalize = torch.nn.functional.normalize
        ours = normalize(pooled(student, mask), dim=-1)
        theirs = normalize(pooled(teacher, mask), dim=-1)
        scores = self.scale * ours @ theirs.T  # [student, teacher]
        count = len(scores)
        all_means = scores.logsumexp(dim=0) - log(count)
        paired = (scores.diagonal() - self._bottom(all_means)).mean()
        if count == 1:
            return -paired
        # A teacher's vector and the others' student vectors are independent: their own mean stands
        # below them.
        same = torch.eye(count, dtype=torch.bool, device=scores.device)
        apart = scores.masked_fill(same, -torch.inf)
        mean = apart.logsumexp(dim=0) - log(count - 1)
        unpaired = (mean - self._bottom(mean)).exp().mean()
        return -(1 + paired - unpaired)

    def _bottom(self, mean: PerSequence) -> PerSequence:
        """Ln (alpha m + 1 - alpha)."""
        if self.alpha == 1:
            return mean
        rest = torch.full_like(mean, log(1 - self.alpha))
        if self.alpha > 0:
            return torch.logaddexp(mean + log(self.alpha), rest)
        return rest
