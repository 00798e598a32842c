"""A head of words that gets classes beside those that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD = "classifier"


def head_of(model: PreTrainedModel, where: str) -> nn.Linear:
    """The layer that makes classes of a word's state.

    Args:
        model: of classes of words.
        where: what named it.

    Raises:
        WrongUse: a model whose head is more than one layer.
    """
    head = getattr(model, HEAD, None)
    if not isinstance(head, nn.Linear):
        raise WrongUse(
            where,
            f"a head of {type(head).__name__}",
            "one linear layer, as BERT, RoBERTa and DistilBERT have it",
            "Take another encoder.",
        )
    return head


def widen(model: PreTrainedModel, names: Sequence[str], where: str) -> None:
    """Adds classes behind those of the model; what it says of the others stays as it is.

    Args:
        model: of classes of words, which is changed.
        names: of the new classes.
        where: what named the model.

    Raises:
        WrongUse: see `head_of`.
    """
    old = head_of(model, where)
    known = dict(model.config.id2label)
    all_names = [known[n] for n in range(len(known))] + list(names)
    spread = getattr(model.config, "initializer_range", 0.02)
    new = nn.Linear(old.in_features, len(all_names), bias=old.bias is not None)
    new = new.to(old.weight)
    with torch.no_grad():
        new.weight.normal_(std=spread)
        new.weight[: old.out_features] = old.weight
        if old.bias is not None:
            new.bias.zero_()
            new.bias[: old.out_features] = old.bias
    setattr(model, HEAD, new)
    model.num_labels = len(all_names)
    model.config.id2label = dict(enumerate(all_names))
    model.config.label2id = {name: n for n, name in enumerate(all_names)}
