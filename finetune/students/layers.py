"""Where a model's layers stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_HOLDERS = ("encoder", "transformer", "decoder")
_NAMES = ("layers", "h", "blocks", "layer")


def bare(model: PreTrainedModel) -> PreTrainedModel:
    """The model without adapters around it."""
    if hasattr(model, "get_base_model"):
        base: PreTrainedModel = model.get_base_model()
        return base
    return model


def layers_of(model: PreTrainedModel) -> nn.ModuleList | None:
    """The layers of a decoder or an encoder, the lowest first; None where they stand in no list
    under a known name.
    """
    body = bare(model).base_model
    holders = [body, *(getattr(body, name, None) for name in _HOLDERS)]
    for holder in holders:
        for name in _NAMES:
            found = getattr(holder, name, None)
            if isinstance(found, nn.ModuleList):
                return found
    return None
