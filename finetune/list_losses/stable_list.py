"""Each text of a list against those that a teacher ranks lower and the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.list_losses.base import ListLoss, Lists, by_target, tails

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class StableList(ListLoss):
    r"""sum over i of softmax(t / T)_i times the cross-entropy of i among texts of lower rank and
    all other texts of the batch.

    Args:
        target_temperature: T, above 0.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Zhang et al., LLM-Embedder, arXiv:2310.07554, section 3.2; Chen et al., BGE-M3,
    arXiv:2402.03216.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(StableList()(example())), 4)
        1.0988
    """

    target_temperature: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    above_zero: ClassVar[tuple[str, ...]] = ("target_temperature",)

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        scores = lists.own()
        order = by_target(lists.wanted(), lists.mask)
        weights = lists.shares(self.target_temperature).gather(1, order)
        ranked = scores.gather(1, order)
        tail = tails(ranked, lists.others())
        return (weights * (tail - ranked)).sum(dim=1).mean()
