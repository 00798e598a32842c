"""One vector of an item out of two that keeps the likenesses of each (in-modality distillation, the
second stage of PRORec, arXiv:2502.06269).
"""

from __future__ import annotations

import torch

from finetune.core.list_tensors import Vectors
from finetune.core.tensors import Scalar
from finetune.list_losses.base import kl
from finetune.trainers.collaborative import TEMPERATURE, descend

_BATCH = 256
_LEARNING_RATE = 1e-2


def kept_likeness(fused: Vectors, teacher: Vectors) -> Scalar:
    """KL(softmax of the teacher's cosines || softmax of the fused ones) over the other items of a
    batch, cosines / TEMPERATURE, the mean over items in nats; 0 where all cosines are the same.

    Args:
        fused: [B, D].
        teacher: [B, T] vectors of the same items in one modality.
    """
    count = len(fused)
    others = ~torch.eye(count, dtype=torch.bool, device=fused.device)
    of_teacher = _cosines(teacher).detach()
    apart = kl(of_teacher, _cosines(fused), others, TEMPERATURE)
    return apart.mean()


def _cosines(vectors: Vectors) -> Vectors:
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return unit @ unit.T


def fused_vectors(
    items: Vectors,
    texts: Vectors,
    *,
    width: int,
    epochs: int,
    semantic: float,
) -> Vectors:
    """[N, D] unit vectors, linear in both of an item, that keep the likenesses by the first with
    the weight 1 and those by the second with the weight `semantic`.

    Args:
        items: [N, C] by what users chose.
        texts: [N, T] by what the texts say.
        width: D.
        epochs: times that every item is learnt.
        semantic: 0 or more; 0 leaves the texts out.

    Raises:
        WrongUse: a loss that is no finite number.
    """
    unit = torch.nn.functional.normalize
    parts = [unit(items, dim=-1)]
    if semantic:
        parts.append(unit(texts, dim=-1))
    both = torch.cat(parts, dim=-1)
    fuse = torch.nn.Linear(both.shape[1], width)
    optimizer = torch.optim.Adam(fuse.parameters(), lr=_LEARNING_RATE)
    step = 0
    for _ in range(epochs):
        order = torch.randperm(len(both))
        for batch in torch.split(order, _BATCH):
            step += 1
            fused = fuse(both[batch])
            loss = kept_likeness(fused, items[batch])
            if semantic:
                by_text = kept_likeness(fused, texts[batch])
                loss = loss + semantic * by_text
            descend(optimizer, loss, step)
    with torch.no_grad():
        made: Vectors = unit(fuse(both), dim=-1)
    return made
