"""Pairs of texts in the order of their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import softplus

from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import (
    ListLoss,
    Lists,
    both,
    differences,
    mean_over,
)


@dataclass(frozen=True, kw_only=True)
class RankNet(ListLoss):
    r"""log(1 + e^(s_j - s_i)) over pairs with target i above target j, the mean over a query's
    pairs.

    Args:
        sigma: above 0; multiplies differences of scores.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Burges et al. 2005; Sun et al., arXiv:2304.09542, section 4.2.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(RankNet()(example())), 4)
        0.7038
    """

    sigma: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"
    above_zero: ClassVar[tuple[str, ...]] = ("sigma",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        targets = lists.wanted()
        higher = targets[:, :, None] > targets[:, None, :]
        above = both(lists.mask) & higher
        gaps = differences(lists.own())
        each = softplus(-self.sigma * gaps) * above
        pairs = above.sum(dim=(1, 2))
        return mean_over(each.sum(dim=(1, 2)), pairs)
