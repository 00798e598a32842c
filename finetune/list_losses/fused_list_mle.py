"""A chain of sentences that drift away, its order fused with a frozen encoder's cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, by_target, plackett_luce


@dataclass(frozen=True, kw_only=True)
class FusedListMle(ListLoss):
    r"""ListMLE towards a chain's order, fused with a frozen encoder's cosines.

    Targets are A + sign(B) log(1 + omega |B|): A are the frozen encoder's cosines with the first
    sentence, B how far the sorted ones lie from them. The texts stand in the order of the chain;
    where encoder and chain agree, B is 0. The paper takes each sentence of a chain as first in
    turn.

    Args:
        omega: above 0; how much the chain's order counts.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no teacher.

    Source: He et al., Ranking sentences generation, arXiv:2502.13656, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(FusedListMle()(example(teacher=example()))), 4)
        0.2787
    """

    omega: float = 0.5

    needs: ClassVar[tuple[str, ...]] = ("teacher",)
    least: ClassVar[Least] = "list"

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        taught = lists.taught()
        cosines = (
            (taught.own() / taught.scale)
            .detach()
            .masked_fill(~lists.mask, -torch.inf)
        )
        position = (lists.mask.cumsum(dim=1) - 1).clamp(
            min=0
        )  # among the texts that are there
        apart = (
            cosines.sort(dim=1, descending=True).values.gather(1, position)
            - cosines
        ).masked_fill(~lists.mask, 0.0)
        targets = cosines + apart.sign() * torch.log1p(self.omega * apart.abs())
        return plackett_luce(
            lists.own(), by_target(targets, lists.mask), lists.mask
        ).mean()
