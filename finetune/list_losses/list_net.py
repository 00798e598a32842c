"""A teacher's distribution over a list, as cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists


@dataclass(frozen=True, kw_only=True)
class ListNet(ListLoss):
    r"""- sum softmax(t / T) log softmax(s), the mean over queries.

    Args:
        target_temperature: T, above 0.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Cao et al. 2007 (top one).

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(ListNet()(example())), 4)
        0.7038
    """

    target_temperature: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"
    above_zero: ClassVar[tuple[str, ...]] = ("target_temperature",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        return (
            -(
                lists.shares(self.target_temperature)
                * torch.log_softmax(lists.own(), dim=-1)
            )
            .sum(dim=-1)
            .mean()
        )
