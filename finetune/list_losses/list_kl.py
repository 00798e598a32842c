"""A teacher's distribution over a list, as a divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists, kl

if TYPE_CHECKING:
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class ListKl(ListLoss):
    r"""T^2 KL(softmax(t / T) || softmax(s / T)), the mean over queries.

    Args:
        temperature: T, above 0, of both sides.
        target_scale: multiplies the targets first, where a teacher's scores have another range.

    Shapes: queries [B, D], documents [B, n, D], mask and targets [B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no targets.

    Source: Ren et al., RocketQAv2, arXiv:2110.07367, section 3.2; Yang et al., Translate-Distill,
    arXiv:2401.04810.

    Example:
        >>> from finetune.list_losses.base import example
        >>> round(float(ListKl()(example())), 4)
        0.1216
    """

    temperature: float = 1.0
    target_scale: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    least: ClassVar[Least] = "list"
    above_zero: ClassVar[tuple[str, ...]] = ("temperature", "target_scale")

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        return (
            self.temperature**2
            * kl(
                self.target_scale * lists.wanted(),
                lists.own(),
                lists.mask,
                self.temperature,
            ).mean()
        )
