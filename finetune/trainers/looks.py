"""What rows held out show of a student beside its teacher, by one measure for all losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finetune.core.tensors import (
    Inputs,
    Positions,
    RowLogits,
    RowLogProbs,
    RowValues,
    Scalar,
)
from finetune.data.tokens import IGNORED
from finetune.kernels.hidden_states import head_of
from finetune.kernels.tiles import tile_rows
from finetune.losses.base import TokenLoss
from finetune.losses.base_parts import Sparse, whole
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.top_k import TopK
from finetune.trainers.batch_losses import Batch, likelihood_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer


def look(batch: Batch) -> dict[str, float]:
    """Means over the learnt tokens of a batch, in nats where nothing else is said.

    Args:
        batch: of rows held out; without a gradient.

    Returns:
        `cross_entropy` to the labels, `entropy` of the student; and beside a teacher of the same
        tokens `kl`, the forward KL at temperature 1 (over the tokens that are known of a teacher
        and their rest, where that is all), `agreement`, the share of tokens (0 to 1) that both find
        likeliest, and `teacher_entropy`, where all probabilities are known.
    """
    places = batch.mask.reshape(-1).nonzero()[:, 0]
    if not len(places):
        return {}
    asked = batch.says is not None
    both = batch.fused(
        _divergence(batch, places),
        says=batch.says,
        strength=float(asked),
        likelihood=1.0,
    )
    found = {"cross_entropy": float(both.cross_entropy)}
    if asked:
        found["kl"] = float(both.loss)
    sums: defaultdict[str, float] = defaultdict(float)
    states = batch.hidden.reshape(-1, batch.hidden.shape[-1])
    size = tile_rows(len(batch.head.weight), states.device)
    for part in torch.split(places, size):
        logits = batch.head.logits(states[part])
        student = whole(logits).log_softmax(dim=-1)
        values = {"entropy": entropy(student)}
        if batch.says is not None:
            values |= beside(student, batch.says(part))
        for name, value in values.items():
            sums[name] += float(value.double().sum())
    for name, total in sums.items():
        found[name] = total / len(places)
    return found


def _divergence(batch: Batch, places: Positions) -> TokenLoss:
    """The forward KL, over the parts that are known of a teacher where not all is."""
    if batch.says is None:
        return ForwardKl()
    partial = isinstance(batch.says(places[:1]), Sparse)
    return TopK() if partial else ForwardKl()


def beside(
    student: RowLogProbs, answer: RowLogits | Sparse
) -> dict[str, RowValues]:
    """Of each token, whether both find the same likeliest, and how sure the teacher is."""
    best = student.argmax(dim=-1)
    if isinstance(answer, Sparse):
        first = answer.logs.argmax(dim=-1, keepdim=True)
        likeliest = answer.ids.gather(1, first)[:, 0]
        return {"agreement": likeliest == best}
    teacher = whole(answer).log_softmax(dim=-1)
    same = teacher.argmax(dim=-1) == best
    return {
        "agreement": same,
        "teacher_entropy": entropy(teacher),
    }


def entropy(logs: RowLogProbs) -> RowValues:
    """[N] of log-probabilities [N, V]."""
    return -(logs.exp() * logs).sum(dim=-1)


def loss_over(
    model: PreTrainedModel,
    batches: Iterable[Inputs],
    size: int,
    device: torch.device,
) -> float:
    """Nats a learnt token of some batches, under a model that shows its hidden states.

    Args:
        model: it is in training mode behind it.
        batches: of ids and labels.
        size: of the vocabulary; its head is cut to that.
        device: of the model.
    """
    total = tokens = 0.0
    model.eval()
    for batch in batches:
        there = {name: value.to(device) for name, value in batch.items()}
        labels = there.pop("labels")[:, 1:]
        with torch.no_grad():
            hidden = model(**there, hidden_only=True)[:, :-1]
            mean = likelihood_of(hidden, head_of(model, size), labels)
        count = float((labels != IGNORED).sum())
        total += float(mean) * count
        tokens += count
    model.train()
    return total / max(1.0, tokens)


class Means:
    """Means by name over all tokens that were looked at, whatever the batches."""

    def __init__(self) -> None:
        # Of each name the sum and the count.
        self._seen: dict[str, Tensor] = {}

    def add(self, name: str, mean: Scalar | float, count: float) -> None:
        """Adds the mean of `count` tokens."""
        none = torch.zeros(2, dtype=torch.float64)
        seen = self._seen.setdefault(name, none)
        seen[0] += float(mean) * count
        seen[1] += count

    def taken(self, trainer: Trainer) -> dict[str, float]:
        """The means over all processes of a trainer, which note the same names."""
        device = trainer.args.device
        reduce = trainer.accelerator.reduce
        means = {}
        for name, seen in self._seen.items():
            own = seen.float()
            own = own.to(device)
            total, count = reduce(own, "sum").tolist()
            means[name] = total / max(1.0, count)
        return means
