"""A known order of a query's texts, and all others behind them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import Scalar
from finetune.list_losses.base import ListLoss, Lists, by_target, plackett_luce


@dataclass(frozen=True, kw_only=True)
class PartialPlackettLuce(ListLoss):
    r"""Negative log-likelihood a text of a known order, with the batch's other texts behind it.

    The order is that of the texts, or of the targets where there are some. With a winner and a
    loser it aligns two retrieved passages by a judge's verdict: winner, loser, rest.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: never.

    Source: Kim and Baek, Syntriever, arXiv:2502.03824, section 3.3; Plackett 1975.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(PartialPlackettLuce()(example(targets=None))), 4)
        0.9822
    """

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        positions = torch.arange(
            lists.mask.shape[1], device=lists.mask.device
        ).expand_as(lists.mask)
        order = by_target(
            -positions.float() if lists.targets is None else lists.targets,
            lists.mask,
        )
        return plackett_luce(
            lists.own(), order, lists.mask, lists.others()
        ).mean()
