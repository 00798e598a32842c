"""Mean squared difference of hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

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

    def compare(self, student: Any, teacher: Any, mask: Any) -> Any:
        """The mean."""
        one = student[mask]
        two = teacher[mask]
        if self.normalise:
            one, two = (
                x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
                for x in (one, two)
            )
        return (one - two).pow(2).mean()
