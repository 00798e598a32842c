"""What a step optimises over rows that weigh differently: one class an objective, plain tensors in,
a scalar out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from finetune.objectives.weighting import weighted_loss

if TYPE_CHECKING:
    from finetune.core.tensors import LabelLogProbs, Mask, PerSequence, Scalar


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The rows of a step.

    Attributes:
        log_probs: [N, L] log-probability of each label, in nats; 0 where the mask is.
        mask: [N, L] which labels count.
        weights: [N], any sign.
        tasks: [N] number of each row's task.
        items: [N] number of each row's item.
    """

    log_probs: LabelLogProbs
    mask: Mask
    weights: PerSequence
    tasks: PerSequence
    items: PerSequence

    @property
    def losses(self) -> PerSequence:
        """[N] mean negative log-likelihood a token."""
        return -self.log_probs.sum(dim=-1) / self.mask.sum(dim=-1).clamp(min=1)


class Objective(Protocol):
    """A scalar of a step's rows; rows of one item always come together where `whole` says so."""

    whole: bool

    def __call__(self, batch: Batch) -> Scalar:
        """The loss."""


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Means of rows, task by task (see `weighting.weighted_loss`); wrong rows are pushed away, or
    made unlikely token by token.

    Args:
        coefficients: one a task.
        margin: nats a token from which on a row of negative weight pushes no longer.
        unlikelihood: rows of negative weight add |weight| times the mean of -ln(1 - p) of their
            tokens instead (unlikelihood training, arXiv:1908.04319, section 4; for wrong rationales
            arXiv:2312.12832).
    """

    coefficients: Sequence[float]
    margin: float = 3.0
    unlikelihood: bool = False
    whole = False

    def __call__(self, batch: Batch) -> Scalar:
        """The sum over tasks of coefficient times mean."""
        losses = batch.losses
        if not self.unlikelihood:
            return weighted_loss(
                losses,
                batch.weights,
                batch.tasks,
                self.coefficients,
                self.margin,
            )
        losses = (-unlikelihood(batch)).where(batch.weights < 0, losses)
        return weighted_loss(
            losses, batch.weights, batch.tasks, self.coefficients, float("inf")
        )


def unlikelihood(batch: Batch) -> PerSequence:
    """[N] mean of -ln(1 - p) over the tokens; a token of probability 1 counts as one of 1 - 1e-6,
    whose gradient is finite.
    """
    import torch  # noqa: PLC0415

    each = -torch.log(-torch.expm1(batch.log_probs.clamp(max=-1e-6)))
    return (each * batch.mask).sum(dim=-1) / batch.mask.sum(dim=-1).clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class MinMax:
    """Towards the best of an item's right rationales, away from the most likely of its wrong ones
    (QCRD, arXiv:2405.13014).

    An item's loss is s+ CE+ - beta (1 - s-) min(CE- - margin, 0): CE+ is the smallest loss of its
    right rows, CE- that of its wrong ones, a right row's weight is s+ (such as its share of the
    votes, or a critic's score), a wrong row's is -(1 - s-). A task's loss is the mean over the
    items that have a right row of it.

    Args:
        coefficients: one a task.
        margin: nats a token from which on a wrong row pushes no longer (the paper: 3).
        beta: strength of the push (the paper: 0.2).
    """

    coefficients: Sequence[float]
    margin: float = 3.0
    beta: float = 0.2
    whole = True

    def __call__(self, batch: Batch) -> Scalar:
        """The sum over tasks of coefficient times the mean over items."""
        import torch  # noqa: PLC0415

        losses = batch.losses
        total = losses.sum() * 0.0
        for number, coefficient in enumerate(self.coefficients):
            of_task = batch.tasks == number
            counted = []
            for item in torch.unique(batch.items):
                chosen = of_task & (batch.items == item)
                loss = self._item(batch, losses, chosen)
                if loss is not None:
                    counted.append(loss)
            if counted:
                total = total + coefficient * sum(counted) / len(counted)
        return total

    def _item(
        self, batch: Batch, losses: PerSequence, chosen: PerSequence
    ) -> Scalar | None:
        right = chosen & (batch.weights > 0)
        wrong = chosen & (batch.weights < 0)
        if not right.any():
            return None
        best = losses.masked_fill(~right, float("inf")).argmin()
        loss = batch.weights[best] * losses[best]
        if wrong.any():
            hardest = losses.masked_fill(~wrong, float("inf")).argmin()
            loss = loss + self.beta * batch.weights[hardest] * (
                losses[hardest] - self.margin
            ).clamp(max=0)
        return loss


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The better text of a pair must be likelier by a margin (PLaD, arXiv:2406.02886): max(0, m -
    ln P(better) + ln P(worse)).

    A pair is an item of two rows: the better one weighs w, the worse one -w, and m = margin times
    w. With w = 1 this is the paper's ranking loss; with w = s(better) - s(worse), a difference of
    scores, its margin loss.

    Args:
        margin: in nats (a token where `normalise` is set).
        normalise: ln P is the mean over tokens, not the sum, so that long texts are not unlikely
            for their length.
        likelihood: times the better row's mean negative log-likelihood a token is added.
    """

    margin: float = 1.0
    normalise: bool = False
    likelihood: float = 0.0
    whole = True

    def __call__(self, batch: Batch) -> Scalar:
        """The mean over pairs."""
        order = batch.items.argsort(stable=True)
        better = order[batch.weights[order] > 0]
        worse = order[batch.weights[order] <= 0]
        scores = (
            -batch.losses if self.normalise else batch.log_probs.sum(dim=-1)
        )
        gap = (
            self.margin * batch.weights[better] - scores[better] + scores[worse]
        )
        return (
            gap.clamp(min=0) + self.likelihood * batch.losses[better]
        ).mean()
