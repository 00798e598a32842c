"""A retriever and a ranker that learn from one list together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from finetune.data.query_lists import Least
from finetune.list_losses.base import ABSENT, ListLoss, Lists, kl

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class JointList(ListLoss):
    r"""- log softmax(r)_first + KL(softmax(r) || softmax(s)): r is what a ranker scores a list, s
    what the retriever does.

    The ranker learns the label, the retriever the ranker's list, and the divergence draws the
    ranker towards the retriever as well.

    Args:
        detach: the divergence moves the retriever alone.

    Shapes: queries [B, D], documents [B, n, D], mask and ranker's scores [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no ranker.

    Source: Ren et al., RocketQAv2, arXiv:2110.07367, section 3.2.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(JointList()(example(ranker=example().own()))), 4)
        0.5574
    """

    detach: bool = False

    needs: ClassVar[tuple[str, ...]] = ("ranker",)
    least: ClassVar[Least] = "list"
    teacher_kinds: ClassVar[tuple[str, ...]] = ("cross",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        ranked = lists.ranked().masked_fill(~lists.mask, ABSENT)
        total = torch.logsumexp(ranked, dim=1)
        labels = total - ranked[:, 0]
        wanted = ranked.detach() if self.detach else ranked
        apart = kl(wanted, lists.own(), lists.mask)
        return labels.mean() + apart.mean()
