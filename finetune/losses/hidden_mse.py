"""Mean squared difference of hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from finetune.core.tensors import HiddenStates, Mask, RowStates, Scalar
from finetune.losses.base_features import FeatureLoss


@dataclass(frozen=True, kw_only=True)
class HiddenMse(FeatureLoss):
    r"""Mean over counted tokens and over the width of (student - teacher)^2.

    Args:
        normalise: both are scaled to unit length first, as patient distillation does.

    Shapes: student and teacher states [B, T, H], mask [B, T].

    Returns: a scalar; 0 where both agree, never negative.

    Raises:
        ValueError: shapes that do not fit, widths that differ.

    Source: Jiao et al., TinyBERT, arXiv:1909.10351, equation 8; Sun et al., patient distillation,
    arXiv:1908.09355 (normalised).

    Example:
        >>> import torch
        >>> float(
        ...     HiddenMse()(
        ...         torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]), torch.ones(1, 1)
        ...     )
        ... )
        2.0
    """

    normalise: bool = False

    same_width: ClassVar[bool] = True

    def compare(
        self, student: HiddenStates, teacher: HiddenStates, mask: Mask
    ) -> Scalar:
        """The mean."""
        ours = student[mask]
        theirs = teacher[mask]
        if self.normalise:
            ours = _unit(ours)
            theirs = _unit(theirs)
        return (ours - theirs).pow(2).mean()


def _unit(states: RowStates) -> RowStates:
    lengths: RowStates = states.norm(dim=-1, keepdim=True)
    return states / lengths.clamp(min=1e-12)
