"""Three heads of one encoder, taught by the sum of their scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from finetune.core.list_tensors import BatchScores, PerQuery
from finetune.list_losses.base import ABSENT, ListLoss, Lists, kl, likelihood

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(kw_only=True, eq=False)
class SelfDistillation(ListLoss):
    r"""(L_a + L_b) / 2 with L_a = (L_d + L_e + w L_s + L_m) / 4 and L_b = (K_d + w K_s + K_m) / 3.

    L is the likelihood of each query's first text among all texts of the batch by the scores of the
    dense, sparse and multi-vector head and by their sum e = d + v s + m; K is KL(softmax(e) ||
    softmax(head)), whose left side teaches and gets no gradient of it.

    Args:
        sparse_score: v, what the sparse head counts in the sum, 0 or more.
        sparse_loss: w, what it counts in the loss, 0 or more.
        start: batches that are trained by L_a alone at first.
        detach: no gradient goes into the sum where it teaches.

    Shapes: queries [B, D], documents [B, n, D], mask [B, n], heads' scores [B, B, n] each.

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no heads.

    Source: Chen et al., BGE-M3, arXiv:2402.03216, section 3.2; weights as in its code.

    Example:
        >>> from dataclasses import replace
        >>> from finetune.list_losses.base import example
        >>> lists = example()
        >>> heads = {"sparse": lists.all(), "multi": lists.all()}
        >>> round(float(SelfDistillation()(replace(lists, heads=heads))), 4)
        0.389
    """

    sparse_score: float = 0.3
    sparse_loss: float = 0.1
    start: int = 0
    detach: bool = True
    batches: int = field(default=0, init=False)

    needs: ClassVar[tuple[str, ...]] = ("heads",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        dense = lists.all()
        sparse = _scaled(lists, "sparse")
        multi = _scaled(lists, "multi")
        together = dense + self.sparse_score * sparse + multi
        together = together.masked_fill(~lists.seen(), ABSENT)
        answers = (
            likelihood(dense)
            + likelihood(together)
            + likelihood(multi)
            + self.sparse_loss * likelihood(sparse)
        )
        labels = answers.mean() / 4
        self.batches += 1
        if self.batches <= self.start:
            return labels
        if self.detach:
            together = together.detach()
        divergences = (
            _towards(together, dense, lists)
            + _towards(together, multi, lists)
            + self.sparse_loss * _towards(together, sparse, lists)
        )
        taught = divergences.mean() / 3
        return (labels + taught) / 2


def _scaled(lists: Lists, head: str) -> BatchScores:
    """[B, B, n] scores of a head; ABSENT where no text is compared."""
    scores = lists.scale * lists.by_head(head)
    return scores.masked_fill(~lists.seen(), ABSENT)


def _towards(
    together: BatchScores, head: BatchScores, lists: Lists
) -> PerQuery:
    """[B] divergence of a head from the sum."""
    seen = lists.seen().flatten(1)
    return kl(
        together.flatten(1),
        head.flatten(1),
        seen,
    )
