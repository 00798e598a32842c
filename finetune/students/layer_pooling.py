"""Vectors of texts that are made of the states of several layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from finetune.students.layer_states import STATES
from finetune.students.saved_parts import SavedPart

if TYPE_CHECKING:
    from finetune.core.list_tensors import Vectors
    from finetune.core.tensors import Inputs


class JoinedLayers(SavedPart):
    """Joins the means over the tokens of the last layers (DSE, arXiv:1908.05161).

    Args:
        width: of a token's state.
        layers: how many are joined, the highest first. Where a model is read at a lower layer, its
            lowest one stands for those that are missing.
    """

    config_keys: ClassVar[list[str]] = ["width", "layers"]

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.layers = layers

    def forward(
        self, features: dict[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Adds `sentence_embedding` [B, layers * width]."""
        del kwargs
        states = features[STATES]
        top = len(states) - 1
        numbers = [max(1, top - below) for below in range(self.layers)]
        means = [_mean(features, states[number]) for number in numbers]
        features["sentence_embedding"] = torch.cat(means, dim=-1)
        return features

    def get_embedding_dimension(self) -> int:
        """Numbers of the vector."""
        return self.layers * self.width


class WeightedLayers(SavedPart):
    """The mean over the tokens of a sum of all layers, whose weights are learnt and sum to 1
    (DeTriever, arXiv:2406.07913).

    Args:
        width: of a token's state, and of the vector.
        depth: layers of the model; all weigh the same at the beginning.
    """

    config_keys: ClassVar[list[str]] = ["width", "depth"]

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        self.depth = depth
        self.weights = torch.nn.Parameter(torch.zeros(depth))

    def forward(
        self, features: dict[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Adds `sentence_embedding` [B, width]."""
        del kwargs
        # The first are the embeddings, which no layer has read.
        states = features[STATES][1:]
        shares = self.weights[: len(states)].softmax(dim=0)
        mixed = torch.zeros_like(states[0])
        for share, layer in zip(shares, states, strict=True):
            mixed = mixed + share * layer
        features["sentence_embedding"] = _mean(features, mixed)
        return features

    def get_embedding_dimension(self) -> int:
        """Numbers of the vector."""
        return self.width


def _mean(features: Inputs, states: Tensor) -> Vectors:
    """[B, width] over the tokens of each text."""
    mask = features["attention_mask"][:, :, None].to(states.dtype)
    total: Vectors = (states * mask).sum(dim=1)
    return total / mask.sum(dim=1).clamp(min=1)
