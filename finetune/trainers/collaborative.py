"""Vectors of items by what users chose, drawn to what their texts say: matrix factorisation with an
alignment to the texts' vectors (the first stage of PRORec, arXiv:2502.06269).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.core.list_tensors import Vectors
from finetune.core.tensors import PerSequence, Scalar
from finetune.students.finite import check_loss

# Of the softmax over the items of a batch.
TEMPERATURE = 0.1
_BATCH = 256
_LEARNING_RATE = 1e-2
# Of the first vectors, so that all scores begin near 0.
_SPREAD = 0.1


def preference(users: Vectors, chosen: Vectors, others: Vectors) -> PerSequence:
    """[B] -log of how likely a user prefers what was chosen to another item, in nats (BPR, Rendle
    et al., arXiv:1205.2618, section 4.1).

    Args:
        users: [B, D].
        chosen: [B, D] an item that each chose.
        others: [B, D] one that each did not.

    >>> one = torch.tensor([[1.0, 0.0]])
    >>> round(float(preference(one, one, torch.zeros(1, 2))), 4)
    0.3133
    """
    scores = users * (chosen - others)
    return -torch.nn.functional.logsigmoid(scores.sum(dim=-1))


def alignment(items: Vectors, texts: Vectors) -> Scalar:
    """-log of the share of an item's own text among the texts of a batch, and of a text's own item
    among its items, by cosines / TEMPERATURE, the mean of both in nats (InfoNCE,
    arXiv:1807.03748).

    Args:
        items: [B, D] by what users chose.
        texts: [B, D] of the same items.
    """
    unit = torch.nn.functional.normalize
    cosines = unit(items, dim=-1) @ unit(texts, dim=-1).T
    logits = cosines / TEMPERATURE
    own = torch.arange(len(items), device=items.device)
    by_item = torch.nn.functional.cross_entropy(logits, own)
    by_text = torch.nn.functional.cross_entropy(logits.T, own)
    return (by_item + by_text) / 2


class Factorisation(torch.nn.Module):
    """Vectors of users and items, and the map that brings texts to the items' width.

    Args:
        users: how many.
        items: how many.
        width: numbers of a vector.
        text_width: numbers of a text's vector.
    """

    def __init__(
        self, users: int, items: int, width: int, text_width: int
    ) -> None:
        super().__init__()
        self.users = torch.nn.Embedding(users, width)
        self.items = torch.nn.Embedding(items, width)
        self.map = torch.nn.Linear(text_width, width)
        for table in (self.users, self.items):
            torch.nn.init.normal_(table.weight, std=_SPREAD)


def collaborative_vectors(
    histories: Sequence[Sequence[int]],
    texts: Vectors,
    *,
    width: int,
    epochs: int,
    align: float,
) -> Vectors:
    """[N, D] vectors of items that predict what users choose, without gradient.

    Args:
        histories: numbers of the items that each user chose.
        texts: [N, T] vectors of all items' texts, which stay as they are.
        width: D.
        epochs: times that every choice is learnt.
        align: weight of `alignment`; 0 leaves the texts out.

    Raises:
        WrongUse: a loss that is no finite number.
    """
    count = len(texts)
    model = Factorisation(len(histories), count, width, texts.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    choices = _choices(histories, count)
    step = 0
    for _ in range(epochs):
        mixed = choices[torch.randperm(len(choices))]
        for batch in torch.split(mixed, _BATCH):
            step += 1
            loss = _batch_loss(model, batch, choices, texts, align)
            descend(optimizer, loss, step)
    return model.items.weight.detach()


def descend(optimizer: torch.optim.Optimizer, loss: Scalar, step: int) -> None:
    """One step down a loss.

    Raises:
        WrongUse: it is no finite number.
    """
    check_loss(float(loss.detach()), step)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _choices(histories: Sequence[Sequence[int]], count: int) -> Tensor:
    """[M] every user's choices, each once: user N + item, in rising order."""
    pairs = [
        user * count + item
        for user, items in enumerate(histories)
        for item in items
    ]
    return torch.tensor(sorted({*pairs}))


def _is_among(numbers: Tensor, rising: Tensor) -> Tensor:
    """[B] True for numbers that stand among others in rising order."""
    places = torch.searchsorted(rising, numbers)
    last = len(rising) - 1
    return rising[places.clamp(max=last)] == numbers


def _batch_loss(
    model: Factorisation,
    batch: Tensor,
    choices: Tensor,
    texts: Vectors,
    align: float,
) -> Scalar:
    """The loss of [B] choices of all."""
    count = len(texts)
    users = batch // count
    items = batch % count
    drawn = torch.randint(count, items.shape)
    preferred = preference(
        model.users(users), model.items(items), model.items(drawn)
    )
    # What the user chose, too, is no other item.
    is_other = ~_is_among(users * count + drawn, choices)
    counted = preferred * is_other
    loss = counted.sum() / is_other.sum().clamp(min=1)
    if not align:
        return loss
    # An item that stands twice in a batch would be its own rival.
    some = torch.tensor(sorted({*items.tolist()}))
    said = model.map(texts[some])
    return loss + align * alignment(model.items(some), said)
