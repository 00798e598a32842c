"""Pairs of words that stand in the same relation, close to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.list_tensors import Scores
from finetune.core.tensors import Scalar
from finetune.list_losses.base import (
    ABSENT,
    ListLoss,
    Lists,
    diagonal,
    mean_over,
)


@dataclass(frozen=True, kw_only=True)
class RelationNce(ListLoss):
    r"""- log e^c(i, j) / (e^c(i, j) + sum over n of e^c(i, n)), the mean over all i and j of one
    group.

    Members are queries and first texts; n are members of other groups and i's own further texts.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over members, nats; 0 or more.

    Raises:
        ValueError: no groups.

    Source: Ushio et al., RelBERT, arXiv:2110.15705, section 3; NCE of the follow-up,
    arXiv:2310.00299.

    Example:
        >>> import torch
        >>> from finetune.list_losses.base import example
        >>> round(float(RelationNce()(example(groups=torch.tensor([0, 1])))), 4)
        0.909
    """

    needs: ClassVar[tuple[str, ...]] = ("groups",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        if lists.groups is None:
            raise ValueError(
                "no groups; this loss needs rows with a column `group`, such as the relation of "
                "a pair"
            )
        members = torch.cat([lists.queries, lists.documents[:, 0]])
        groups = torch.cat([lists.groups, lists.groups])
        cosines = lists.scale * members @ members.T
        alike = groups[:, None] == groups[None]
        others = cosines.masked_fill(alike, ABSENT)
        against = torch.cat([others, _further(lists)], dim=1)
        pairs = alike & ~diagonal(len(members), len(members), alike)
        rest = torch.logsumexp(against, dim=1, keepdim=True)
        each = torch.logaddexp(cosines, rest) - cosines
        total = each.masked_fill(~pairs, 0.0).sum(dim=1)
        return mean_over(total, pairs.sum(dim=1))


def _further(lists: Lists) -> Scores:
    """[2 B, n - 1] scores of each member with the further texts of its own list; ABSENT where there
    is none.
    """
    first = lists.documents[:, 0]
    of_first = torch.einsum("bd,bnd->bn", first, lists.documents)
    scores = torch.cat([lists.own(), lists.scale * of_first])
    mask = torch.cat([lists.mask, lists.mask])
    return scores.masked_fill(~mask, ABSENT)[:, 1:]
