"""A teacher's scores up to shift and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, mean_over

if TYPE_CHECKING:
    from finetune.core.list_tensors import Scores
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class Pearson(ListLoss):
    r"""1 - Pearson correlation of scores and targets of each list, the mean over queries.

    Equal targets within a list count as they are. A list in which all are equal has no correlation
    (0 / 0), as one of a single text has none: it is left out of the mean, where it would be a 1
    that nothing can learn from.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: 0 where both are in line, 2 where they are opposed.

    Raises:
        ValueError: no targets.

    Source: Liao et al., D2LLM, arXiv:2406.17262, section 3 (rank imitation).

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(Pearson()(example())), 4)
        1.0
    """

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        there = lists.mask
        count = lists.mask.sum(dim=1, keepdim=True)

        def centred(values: Scores) -> Scores:
            values = values.masked_fill(~there, 0.0)
            return (
                values - values.sum(dim=1, keepdim=True) / count
            ).masked_fill(~there, 0.0)

        scores = centred(lists.own())
        targets = centred(lists.wanted())
        norm = (
            (scores.square().sum(dim=1) * targets.square().sum(dim=1))
            .clamp(min=1e-12)
            .sqrt()
        )
        each = 1 - (scores * targets).sum(dim=1) / norm
        wanted = lists.wanted()
        lowest = wanted.masked_fill(~there, torch.inf).amin(dim=1)
        highest = wanted.masked_fill(~there, -torch.inf).amax(dim=1)
        return mean_over(each, (highest > lowest).long())

    def leaves_out(self, targets: Sequence[float]) -> bool:
        """Whether a list with such targets teaches nothing."""
        return len({*targets}) < 2
