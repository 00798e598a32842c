"""A teacher's scores themselves, and labels besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, mean_over

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class ScoreMse(ListLoss):
    r"""(1 - c) BCE(sigmoid(s), first) + c (s - t)^2, the mean over a list's texts.

    The label is 1 for a query's first text and 0 for the others. It fits students whose scores are
    logits (`--kind pair --scale 1`) and a teacher's logits as targets.

    Args:
        share: c, from 0 to 1, of the teacher's scores.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Barkan et al., DSE, arXiv:1908.05161, section 3; c as in its code.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(ScoreMse()(example())), 4)
        0.7
    """

    share: float = 0.5

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "text"

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        absent = ~lists.mask
        scores = lists.own().masked_fill(absent, 0.0)
        wanted = lists.wanted().masked_fill(absent, 0.0)
        apart = scores - wanted
        squares = apart.square()
        first = lists.first()
        entropies = torch.nn.functional.binary_cross_entropy_with_logits(
            scores,
            first.to(scores.dtype),
            reduction="none",
        )
        each = torch.lerp(entropies, squares, self.share)
        each = each.masked_fill(absent, 0.0)
        counts = lists.mask.sum(dim=1)
        return mean_over(each.sum(dim=1), counts)
