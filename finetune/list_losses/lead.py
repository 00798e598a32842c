"""A teacher's distributions over the texts of a batch, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from finetune.list_losses.base import (
    ABSENT,
    ListLoss,
    Lists,
    in_batch,
    kl,
    likelihood,
)

if TYPE_CHECKING:
    from finetune.core.list_tensors import LayerScores, PerQuery
    from finetune.core.tensors import Scalar


@dataclass(frozen=True, kw_only=True)
class Lead(ListLoss):
    r"""InfoNCE + KL(t || s) of the last layers + the sum over l of w_l KL(t_l || s_l).

    t_l and s_l are the distributions over all texts of the batch by one of k layers below the last
    of the teacher and of the student. Both draw k layers in each step, and the l-th lowest of one
    teaches the l-th lowest of the other. w is the softmax over the k layers of -NLL(t_l) / U: a
    layer by which the teacher itself finds the right texts counts more. With `together` the
    teacher learns as well: its own InfoNCE and KL(s || t) of all these layers are added, and every
    divergence moves both models.

    Args:
        count: k; at most as many as the smaller model has below its last layer.
        teacher_temperature: T, above 0, of the teacher's scores.
        layer_temperature: U, above 0; the paper's code has 10.
        together: whether the teacher learns beside the student, as in the paper's code.

    Shapes: queries [B, D], documents [B, n, D], mask [B, n], layers [k, B, B, n], teacher_layers
    [1 + k, B, B, n].

    Returns: the mean over queries, nats; 0 or more.

    Raises:
        ValueError: no layers.

    Source: Sun et al., LEAD, arXiv:2212.05225, section 3.

    Example:
        >>> from finetune.list_losses.base import example
        >>> case = example()
        >>> scores = case.all()[None]
        >>> case = example(layers=scores, teacher_layers=scores.repeat(2, 1, 1, 1))
        >>> round(float(Lead()(case)), 4)
        1.0509
    """

    count: int = 5
    teacher_temperature: float = 1.0
    layer_temperature: float = 10.0
    together: bool = False

    needs: ClassVar[tuple[str, ...]] = ("layers",)
    above_zero: ClassVar[tuple[str, ...]] = (
        "teacher_temperature",
        "layer_temperature",
    )
    teacher_kinds: ClassVar[tuple[str, ...]] = ("bi", "multi")

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        layers, wanted = lists.by_layer()
        hidden = ~lists.seen()
        ours = torch.cat([lists.all()[None], layers]).masked_fill(
            hidden, ABSENT
        )
        theirs = wanted.masked_fill(hidden, ABSENT)
        if not self.together:
            theirs = theirs.detach()
        shares = self._shares(theirs[1:])
        # The last layers count 1, those below them 1 together.
        weights = torch.cat([shares.new_ones(1), shares])
        soft = theirs / self.teacher_temperature
        loss = in_batch(lists).mean()
        loss = loss + (weights * _apart(soft, ours, lists)).sum()
        if not self.together:
            return loss
        loss = loss + likelihood(theirs[0]).mean()
        return loss + (weights * _apart(ours, theirs, lists)).sum()

    def _shares(self, layers: LayerScores) -> PerQuery:
        """[k] weights of the layers, which sum to 1."""
        surprises = [likelihood(scores).mean() for scores in layers.detach()]
        losses = torch.stack(surprises) if surprises else layers.new_zeros(0)
        return torch.softmax(-losses / self.layer_temperature, dim=0)


def _apart(wanted: LayerScores, said: LayerScores, lists: Lists) -> PerQuery:
    """[layers] the mean divergence over queries by each layer."""
    seen = lists.seen().flatten(1)
    return torch.stack(
        [
            kl(one.flatten(1), other.flatten(1), seen).mean()
            for one, other in zip(wanted, said, strict=True)
        ]
    )
