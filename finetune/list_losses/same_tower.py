"""InfoNCE with the batch's other queries as negatives too."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import Scalar
from finetune.list_losses.base import ABSENT, ListLoss, Lists


@dataclass(frozen=True, kw_only=True)
class SameTower(ListLoss):
    r"""- log e^s(q, d+) / (texts of all first places + own negatives + other queries).

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: never.

    Source: Lee et al., Gecko, arXiv:2403.20327, section 3.3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(SameTower()(example())), 4)
        0.909
    """

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        first = lists.all()[:, :, 0]
        between = lists.scale * lists.queries @ lists.queries.T
        itself = torch.eye(len(first), dtype=torch.bool, device=first.device)
        every = torch.cat(
            [first, lists.own()[:, 1:], between.masked_fill(itself, ABSENT)],
            dim=1,
        )
        return (torch.logsumexp(every, dim=1) - first.diagonal()).mean()
