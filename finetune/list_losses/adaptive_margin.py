"""Margins that follow from how like the two texts are; no teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from finetune.core.list_tensors import Scores, TextMask
from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, diagonal, mean_over


@dataclass(frozen=True, kw_only=True)
class AdaptiveMargin(ListLoss):
    r"""Mean squared difference between cos(q, d+) - cos(q, d-) and a target made of cos(d+, d-).

    The paper's code asks the largest margin of the most similar negatives (`similar`: c / 2 + 1 /
    2) and lets gradients into the target; here both are settings. A query's margins start from its
    own positive, also over the batch.

    Args:
        target: `similar`, `unlike` (1 / 2 - c / 2), or `constant`.
        margin: of `constant`.
        detach: no gradient goes into the target.
        over: `own` negatives, or those of the whole `batch`.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries with a negative, squared cosines; 0 or more.

    Raises:
        ValueError: never.

    Source: Gienapp et al., Self-distillation with adaptive relevance margins, arXiv:2407.21515.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(AdaptiveMargin()(example())), 4)
        0.3143
    """

    target: Literal["similar", "unlike", "constant"] = "similar"
    margin: float = 0.3
    detach: bool = True
    over: Literal["own", "batch"] = "own"

    def learns_of(self) -> Least:
        """Of a list, unless the batch's other texts stand against the first."""
        return "list" if self.over == "own" else "batch"

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        positive = lists.documents[:, 0]
        products = lists.queries * positive
        to_positive = products.sum(dim=-1, keepdim=True)
        cosines, alike, counted = _negatives(lists, over=self.over)
        margins = to_positive - cosines
        errors = margins - self.wanted(alike)
        squares = errors.masked_fill(~counted, 0.0).square()
        return mean_over(squares.sum(dim=1), counted.sum(dim=1))

    def wanted(self, alike: Tensor) -> Tensor:
        """The margin for texts so alike (cosines)."""
        if self.detach:
            alike = alike.detach()
        if self.target == "constant":
            return torch.full_like(alike, self.margin)
        if self.target == "similar":
            return 0.5 + alike / 2
        return 0.5 - alike / 2


def _negatives(
    lists: Lists, *, over: Literal["own", "batch"]
) -> tuple[Scores, Scores, TextMask]:
    """Of each query: the cosines of texts with it, those with its positive, and which of the texts
    count.
    """
    positive = lists.documents[:, 0]
    first = lists.first()
    if over == "own":
        cosines = lists.own() / lists.scale
        alike = torch.einsum("bd,bnd->bn", positive, lists.documents)
        return cosines, alike, lists.mask & ~first
    cosines = lists.all() / lists.scale
    alike = torch.einsum("bd,cnd->bcn", positive, lists.documents)
    # The first text of a query is its positive; that of another query is a negative.
    batch = len(first)
    own = diagonal(batch, batch, first)
    own_positive = own[:, :, None] & first
    counted = lists.mask & ~own_positive
    return (
        cosines.flatten(1),
        alike.flatten(1),
        counted.flatten(1),
    )
