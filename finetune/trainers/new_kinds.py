"""A tagger learns new kinds of entities and keeps those that it knows (IS3, arXiv:2402.10447, and
its release).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finetune.core.tensors import Inputs, Scalar
from finetune.students.wider_head import head_of
from finetune.trainers.distill_encoder import EncoderDistillTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class NewKinds:
    """What keeps old kinds; the defaults are those of the paper's release.

    Attributes:
        distil: weight of what the former model says of words outside of the new kinds.
        prototypes: weight of the former kinds' mean states.
        old_gradient: share (0 to 1) of the labels' gradient that reaches the head's weights of old
            kinds.
        relabel: a word outside of the new kinds counts as one of an old kind if the former model
            is at least so sure (0 to 1); None for never, as in the release.
    """

    distil: float = 2.0
    prototypes: float = 0.1
    old_gradient: float = 0.6
    relabel: float | None = None


def old_kl(logits: Tensor, former: Tensor) -> Scalar:
    """The mean of the former model's KL to the student, in nats; the student's share of the new
    classes counts as lost, since its probabilities are over all classes.

    Args:
        logits: [N, C] of the student, the old classes first.
        former: [N, O] of the former model, O at most C.

    Example:
        >>> zeros = torch.zeros(1, 2)
        >>> round(float(old_kl(torch.zeros(1, 4), zeros)), 4)
        0.6931
    """
    theirs = former.log_softmax(dim=-1)
    ours = logits.log_softmax(dim=-1)[:, : former.shape[1]]
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()


def slowed(
    logits: Tensor, states: Tensor, weight: Tensor, rows: Tensor, share: float
) -> Tensor:
    """The same logits, through which a head's weights of some classes get a share of their
    gradient; what lies below the head gets all of it.

    Args:
        logits: [N, C].
        states: [N, H] that the head made them of.
        weight: [C, H] of the head.
        rows: numbers of the classes.
        share: 0 to 1.
    """
    own = torch.nn.functional.linear(states.detach(), weight[rows])
    less = (share - 1) * (own - own.detach())
    return logits.index_add(1, rows, less)


class NewKindsTrainer(EncoderDistillTrainer):
    """Minimises the cross-entropy of words of new kinds + distil x `old_kl` of words outside of
    them + prototypes x the cross-entropy of the old kinds' prototypes.

    Words outside are in no cross-entropy: they may be of an old kind (the paper's E2O), and would
    else be pushed against the new ones by every batch (O2E).

    Args:
        kinds: the weights.
        prototypes: class -> [H] mean state of its words.
        outside: number of the class "O".
        options: of an `EncoderDistillTrainer`: the teacher is the former model, whose classes are
            the student's first ones; no losses.
    """

    def __init__(
        self,
        *,
        kinds: NewKinds,
        prototypes: Mapping[int, Tensor],
        outside: int,
        **options: Any,
    ) -> None:
        super().__init__(terms=[], likelihood=1.0, strength=1.0, **options)
        self.kinds = kinds
        self.outside = outside
        self.places = sorted(prototypes)
        self.prototypes = [prototypes[place] for place in self.places]
        self.head = head_of(self.model, "--model")
        self._read: list[Tensor] = []
        self.head.register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG002
        """Notes what the head reads in this pass."""
        self._read = [inputs[0]]

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The loss of one batch."""
        read = {
            name: value
            for name, value in inputs.items()
            if name not in ("labels", "counted")
        }
        logits = model(**read).logits
        states = self._read.pop()
        with torch.no_grad():
            former = self.teacher(**read).logits
        counted = inputs["counted"].bool()
        labels = self._relabelled(inputs["labels"], former)
        outside = counted & (labels == self.outside)
        known = counted & (labels >= 0) & ~outside
        total = logits.sum() * 0.0
        if known.any():
            value = self._of_new(logits[known], states[known], labels[known])
            total = total + value
            self._note("cross_entropy", value)
            total = total + self.kinds.prototypes * self._of_prototypes()
        if outside.any():
            apart = old_kl(logits[outside], former[outside])
            total = total + self.kinds.distil * apart
            self._note("old_kl", apart)
        return (total, {"logits": logits}) if return_outputs else total

    def _relabelled(self, labels: Tensor, former: Tensor) -> Tensor:
        """[B, T] labels, in which words outside are of the old kind that the former model is sure
        of.
        """
        if self.kinds.relabel is None:
            return labels
        chance, kind = former.softmax(dim=-1).max(dim=-1)
        sure = (labels == self.outside) & (chance >= self.kinds.relabel)
        return torch.where(sure, kind, labels)

    def _of_new(self, logits: Tensor, states: Tensor, labels: Tensor) -> Scalar:
        """The cross-entropy of labelled words, which moves the head's weights of old kinds less."""
        old = [
            n
            for n in range(self.teacher.config.num_labels)
            if n != self.outside
        ]
        rows = torch.tensor(old, device=logits.device)
        share = self.kinds.old_gradient
        moved = slowed(logits, states, self.head.weight, rows, share)
        return nn.functional.cross_entropy(moved, labels)

    def _of_prototypes(self) -> Scalar:
        """The cross-entropy of the old kinds' prototypes."""
        weight = self.head.weight
        if not self.prototypes or not self.kinds.prototypes:
            return weight.sum() * 0.0
        states = torch.stack(self.prototypes).to(weight)
        places = torch.tensor(self.places, device=weight.device)
        value = nn.functional.cross_entropy(self.head(states), places)
        self._read.clear()
        self._note("prototypes", value)
        return value
