"""The likelihood of a teacher's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, by_target, plackett_luce

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class ListMle(ListLoss):
    r"""Negative log-likelihood a text of the order of the targets (Plackett and Luce), the mean
    over queries.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Xia et al. 2008.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(ListMle()(example())), 4)
        0.3519
    """

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        return plackett_luce(
            lists.own(), by_target(lists.wanted(), lists.mask), lists.mask
        ).mean()
