"""All texts that answer a query, against all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Scalar
from finetune.list_losses.base import ABSENT, ListLoss, Lists, mean_over


@dataclass(frozen=True, kw_only=True)
class SoftNearestNeighbour(ListLoss):
    r"""- log of the share of e^s that falls on the query's own positives, among all texts of the
    batch.

    A query's own positives are never negatives. A query without any counts nothing.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: never.

    Source: Frosst et al., arXiv:1902.01889; Kim and Baek, Syntriever, arXiv:2502.03824, section
    3.2.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(SoftNearestNeighbour()(example(targets=None))), 4)
        1.0509
    """

    seeks_answer: ClassVar[bool] = True

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        positives = lists.positives()
        right = torch.logsumexp(
            lists.own().masked_fill(~positives, ABSENT), dim=1
        )
        surprises = torch.logsumexp(lists.all().flatten(1), dim=1) - right
        return mean_over(surprises, positives.any(dim=1).long())
