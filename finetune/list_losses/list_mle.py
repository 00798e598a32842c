"""The likelihood of a teacher's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from finetune.list_losses.base import ListLoss, Lists, by_target, plackett_luce


@dataclass(frozen=True, kw_only=True)
class ListMle(ListLoss):
    r"""Negative log-likelihood a text of the order of the targets (Plackett and Luce), the mean over queries.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Xia et al. 2008.

    Example:
        >>> import torch
        >>> from finetune.list_losses.base import Lists
        >>> unit = torch.nn.functional.normalize
        >>> mask = torch.ones(2, 2, dtype=torch.bool)
        >>> vectors = {"queries": torch.eye(2), "documents": unit(torch.tensor([[[1.0, 0], [1, 1]], [[0, 1.0], [1, 1]]]), dim=-1)}
        >>> round(float(ListMle()(Lists(**vectors, mask=mask, targets=torch.tensor([[2.0, 1.0], [1.0, 2.0]]), scale=1.0))), 4)
        0.3519
    """

    needs: ClassVar[tuple[str, ...]] = ("targets",)

    def __call__(self, lists: Lists) -> Any:
        """The loss, a scalar."""
        return plackett_luce(lists.own(), by_target(lists.wanted(), lists.mask), lists.mask).mean()
