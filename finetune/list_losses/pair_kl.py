"""Which of two texts a teacher prefers, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from finetune.core.list_tensors import Scores, TextMask
from finetune.core.tensors import Scalar
from finetune.list_losses.base import (
    ListLoss,
    Lists,
    both,
    by_target,
    differences,
    in_batch,
    kl,
    mean_over,
)


@dataclass(frozen=True, kw_only=True)
class PairKl(ListLoss):
    r"""KL of lists + alpha times the mean KL([p, 1 - p] || softmax([s_i, s_j])) over pairs + beta
    times InfoNCE; p = sigmoid(t_i - t_j).

    Args:
        alpha: weight of the pairs; the paper has 3 for ColBERT and 1 for single vectors.
        beta: weight of InfoNCE over the batch.
        listwise: weight of the KL of lists.
        reach: pairs are texts at most so many places apart in the teacher's order.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Huang and Chen, PairDistill, arXiv:2410.01383, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(PairKl()(example())), 4)
        1.2941
    """

    alpha: float = 1.0
    beta: float = 1.0
    listwise: float = 1.0
    reach: int = 5

    needs: ClassVar[tuple[str, ...]] = ("targets",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        targets = lists.wanted()
        scores = lists.own()
        mask = lists.mask
        chosen = self._pairs(targets, mask)
        target_gaps = differences(targets)
        score_gaps = differences(scores)
        share = torch.sigmoid(target_gaps)
        each = share * (logsigmoid(target_gaps) - logsigmoid(score_gaps)) + (
            1 - share
        ) * (logsigmoid(-target_gaps) - logsigmoid(-score_gaps))
        pairs = mean_over(
            each.masked_fill(~chosen, 0.0).sum(dim=(1, 2)),
            chosen.sum(dim=(1, 2)),
        )
        return (
            self.listwise * kl(targets, scores, mask).mean()
            + self.alpha * pairs
            + self.beta * in_batch(lists).mean()
        )

    def _pairs(self, targets: Scores, mask: TextMask) -> Tensor:
        """[B, i, j] True where text j follows text i within reach, by the teacher's order."""
        rank = by_target(targets, mask).argsort(dim=1)
        apart = rank[:, None, :] - rank[:, :, None]
        near = (apart > 0) & (apart <= self.reach)
        return near & both(mask)
