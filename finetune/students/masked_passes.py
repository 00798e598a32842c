"""Passes of a BERT some of whose heads, units, dimensions and layers are masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finetune.core.tensors import HiddenStates
from finetune.students.gates import Masks, Sizes
from finetune.students.layers import layers_of
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KIND = "bert"


@dataclass
class Masked:
    """The masks that passes read.

    Attributes:
        now: of the next pass; None for none.
    """

    now: Masks | None = None


def sizes_of(model: PreTrainedModel, named: str) -> Sizes:
    """The sizes of a BERT.

    Raises:
        WrongUse: another model, whose parts are not known.
    """
    config = model.config
    if config.model_type != _KIND or layers_of(model) is None:
        raise WrongUse(
            f"--sparsity with {named}",
            f"a model of the kind {config.model_type}",
            "a BERT",
            "Take a BERT, or --model truncate:... for a smaller one of another kind.",
        )
    heads = config.num_attention_heads
    return Sizes(
        layers=config.num_hidden_layers,
        heads=heads,
        head_size=config.hidden_size // heads,
        units=config.intermediate_size,
        hidden=config.hidden_size,
    )


def mask_passes(model: PreTrainedModel, sizes: Sizes) -> Masked:
    """Has a BERT's passes go by masks; without masks they are what they were.

    Args:
        model: that is about to be trained.
        sizes: its own.
    """
    masked = Masked()
    base: Any = model.base_model
    _replace(base.embeddings.LayerNorm, _of_embeddings, masked)
    for number, layer in enumerate(base.encoder.layer):

        def of_heads(masks: Masks, place: int = number) -> Tensor:
            wide = masks.heads[place].repeat_interleave(sizes.head_size)
            return wide * masks.attention[place]

        def of_units(masks: Masks, place: int = number) -> Tensor:
            return masks.units[place] * masks.feed[place]

        def of_attention(masks: Masks, place: int = number) -> Tensor:
            return masks.attention[place]

        def of_feed(masks: Masks, place: int = number) -> Tensor:
            return masks.feed[place]

        for part, inner, whole in (
            (layer.attention.output, of_heads, of_attention),
            (layer.output, of_units, of_feed),
        ):
            part.forward = _summed(part, masked, inner, whole)
    return masked


def _of_embeddings(
    norm: nn.LayerNorm, states: HiddenStates, masks: Masks
) -> HiddenStates:
    return normed(norm, states * masks.hidden, masks.hidden)


def _replace(norm: nn.LayerNorm, forward: Any, masked: Masked) -> None:
    plain = norm.forward

    def passes(states: HiddenStates) -> HiddenStates:
        if masked.now is None:
            return plain(states)
        found: HiddenStates = forward(norm, states, masked.now)
        return found

    norm.forward = passes  # type: ignore[method-assign, assignment]


# Masks -> those of one layer.
Part = Callable[[Masks], Tensor]


def _summed(
    part: Any, masked: Masked, inner: Part, whole: Part
) -> Callable[[Tensor, Tensor], Tensor]:
    """The end of an attention or a feed-forward part: a matrix, a sum with what came in, a norm.

    Args:
        part: with `dense`, `dropout` and `LayerNorm`.
        masked: the masks.
        inner: what is left of its inner width, times what is left of it as a whole.
        whole: what is left of it as a whole.
    """
    plain: Callable[[Tensor, Tensor], Tensor] = part.forward

    def passes(hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        masks = masked.now
        if masks is None:
            return plain(hidden_states, input_tensor)
        inside = inner(masks)
        if not bool((inside > 0).any()):
            # Nothing of it is left: what came in goes on, without the norm.
            return input_tensor
        dense = part.dense
        made = nn.functional.linear(hidden_states * inside, dense.weight)
        made = (made + dense.bias * whole(masks)) * masks.hidden
        summed = part.dropout(made) + input_tensor
        return normed(part.LayerNorm, summed, masks.hidden)

    return passes


def normed(
    norm: nn.LayerNorm, states: HiddenStates, mask: Tensor
) -> HiddenStates:
    """A layer norm over the dimensions that are left, times what is left of them.

    Args:
        norm: of all dimensions.
        states: [..., d].
        mask: [d], 0 to 1.
    """
    kept = (mask > 0).to(states.dtype)
    count = kept.sum()
    mean = (states * kept).sum(dim=-1, keepdim=True) / count
    apart = (states - mean) * kept
    variance = apart.square().sum(dim=-1, keepdim=True) / count
    scaled = apart * torch.rsqrt(variance + norm.eps)
    found: HiddenStates = (scaled * norm.weight + norm.bias) * mask
    return found
