"""A BERT whose layers have as many heads and units as each needs, for transformers alone.

This file lies beside the weights of a pruned model, so that transformers can open the folder
without this package: it imports nothing else.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
)


class PrunedBertConfig(BertConfig):  # type: ignore[misc]
    """Sizes of a BERT whose layers differ.

    Attributes:
        heads: of each layer; 0 where it has no attention.
        units: of each layer; 0 where it has no feed-forward part.
        head_size: width of a head.
        pooled_size: width of the vector that a classifier of texts reads.
    """

    model_type = "pruned_bert"

    heads: list[int] | None = None
    units: list[int] | None = None
    head_size: int = 64
    pooled_size: int = 768


class NoAttention(nn.Module):
    """Hands on what came in."""

    def forward(
        self, hidden_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, None]:
        """(states, no attention)."""
        return hidden_states, None


class NoFeed(nn.Module):
    """Hands on what came in, whatever the units would have made of it."""

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:  # noqa: ARG002
        """The states."""
        return input_tensor


def fit(body: Any, config: PrunedBertConfig) -> None:
    """Gives each layer of a BERT the sizes that the config says."""
    width = config.hidden_size
    layers = zip(
        body.encoder.layer,
        config.heads or (),
        config.units or (),
        strict=True,
    )
    for layer, heads, units in layers:
        if heads:
            inner = heads * config.head_size
            attention = layer.attention.self
            attention.num_attention_heads = heads
            attention.attention_head_size = config.head_size
            attention.all_head_size = inner
            attention.scaling = config.head_size**-0.5
            for name in ("query", "key", "value"):
                setattr(attention, name, nn.Linear(width, inner))
            layer.attention.output.dense = nn.Linear(inner, width)
        else:
            layer.attention = NoAttention()
        if units:
            layer.intermediate.dense = nn.Linear(width, units)
            layer.output.dense = nn.Linear(units, width)
        else:
            layer.intermediate = nn.Identity()
            layer.output = NoFeed()
    if body.pooler is not None:
        body.pooler.dense = nn.Linear(width, config.pooled_size)


class PrunedBertForSequenceClassification(BertForSequenceClassification):  # type: ignore[misc]
    """Classes of texts."""

    config_class = PrunedBertConfig

    def __init__(self, config: PrunedBertConfig) -> None:
        super().__init__(config)
        fit(self.bert, config)
        self.classifier = nn.Linear(config.pooled_size, config.num_labels)


class PrunedBertForTokenClassification(BertForTokenClassification):  # type: ignore[misc]
    """Classes of words."""

    config_class = PrunedBertConfig

    def __init__(self, config: PrunedBertConfig) -> None:
        super().__init__(config)
        fit(self.bert, config)
