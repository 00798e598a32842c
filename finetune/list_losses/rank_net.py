"""Pairs of texts in the order of their targets."""

from __future__ import annotations

from collections.abc import Sequence
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

    Pairs of equal targets are left out, as in the sum over r_i < r_j of Sun et al., and so are
    lists in which all are equal. Burges et al. (section 3) give such a pair a target probability of
    1/2: the mean of both orders' costs, which is least where the scores are equal, too.

    Args:
        sigma: above 0; multiplies differences of scores.
        equal: whether pairs of equal targets count so.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more, of a pair of equal targets ln 2 or more.

    Raises:
        ValueError: no targets.

    Source: Burges et al. 2005; Sun et al., arXiv:2304.09542, section 4.2.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(RankNet()(example())), 4)
        0.7038
    """

    sigma: float = 1.0
    equal: bool = False

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"
    above_zero: ClassVar[tuple[str, ...]] = ("sigma",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        targets = lists.wanted()
        higher = targets[:, :, None] > targets[:, None, :]
        pairs = both(lists.mask)
        counted = (pairs & higher).to(targets)
        if self.equal:
            same = (targets[:, :, None] == targets[:, None, :]).triu(1)
            # Each order of such a pair has half of the weight.
            halves = 0.5 * (pairs & (same | same.transpose(1, 2)))
            counted = counted + halves
        gaps = differences(lists.own())
        each = softplus(-self.sigma * gaps) * counted
        return mean_over(each.sum(dim=(1, 2)), counted.sum(dim=(1, 2)))

    def leaves_out(self, targets: Sequence[float]) -> bool:
        """Whether a list with such targets teaches nothing."""
        return not self.equal and len({*targets}) < 2
