"""Hidden states and head of a causal language model, so that a loss can project tile by tile."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from finetune.core.tensors import HiddenStates, Scalar
from finetune.kernels.features import Features, Show, shown_relations
from finetune.kernels.heads import Head
from finetune.students.layers import bare

if TYPE_CHECKING:
    from transformers import (
        PretrainedConfig,
        PreTrainedModel,
        TrainingArguments,
    )

# Names of the norm behind the last layer.
_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm")
# Names under which model families scale their logits; those of `_DIVIDES` divide by it.
_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")


class Body(NamedTuple):
    """What a body gave to a batch.

    Attributes:
        hidden: [B, T, H] its last hidden states.
        uneven: how unevenly a mixture of experts shares its work (a scalar, by the model's own
            formula); None where it was not asked for.
        features: what was asked for.
    """

    hidden: HiddenStates
    uneven: Scalar | None
    features: Features


def expose_hidden(model: PreTrainedModel) -> None:
    """`model(..., hidden_only=True)` then returns the last hidden states [B, T, H] and leaves the
    head out; with `balance=True` or `show=Show(...)` it returns a `Body`.

    The call still goes through the model itself, and so through whatever wraps it (DDP, FSDP,
    adapters). Call it before they do.
    """
    base = bare(model)
    original = base.forward

    @functools.wraps(type(base).forward)
    def forward(
        self: PreTrainedModel,
        *args: TrainingArguments,
        hidden_only: bool = False,
        balance: bool = False,
        show: Show | None = None,
        **options: object,
    ) -> object:
        if not hidden_only:
            return original(*args, **options)
        options["use_cache"] = False
        if not balance and not show:
            return self.base_model(*args, **options).last_hidden_state
        if balance:
            options["output_router_logits"] = True
        return _body(self, args, options, show or Show())

    base.forward = types.MethodType(forward, base)


def _body(
    model: PreTrainedModel,
    args: tuple[TrainingArguments, ...],
    options: dict[str, object],
    show: Show,
) -> Body:
    """What a model's body gives, with what it shows of its inside."""
    if show.states:
        options["output_hidden_states"] = True
    if show.maps:
        options["output_attentions"] = True
    with shown_relations(model, show.relations) as relations:
        output = model.base_model(*args, **options)
    features = Features(
        states=tuple(output.hidden_states or ()) if show.states else (),
        maps=tuple(output.attentions or ()) if show.maps else (),
        relations=relations,
    )
    uneven = None
    if "output_router_logits" in options:
        formula = sys.modules[type(model).__module__].load_balancing_loss_func
        uneven = formula(
            output.router_logits,
            model.num_experts,
            model.num_experts_per_tok,
            options.get("attention_mask"),
        )
    return Body(output.last_hidden_state, uneven, features)


def before_head(
    model: PreTrainedModel, features: Features, layer: int
) -> HiddenStates:
    """[B, T, H] what a decoder's head would read, if this layer were the last: its states behind
    the final norm.

    Args:
        model: with or without adapters.
        features: what it shows, with its states.
        layer: from 1.
    """
    states = features.states[layer]
    if layer == len(features.states) - 1:
        return states
    return normed(model, states)


def normed(model: PreTrainedModel, states: HiddenStates) -> HiddenStates:
    """States [B, T, H] of some layer behind the final norm of a decoder, if it has one."""
    base = bare(model)
    for name in _NORMS:
        found = getattr(base.base_model, name, None)
        if isinstance(found, nn.Module):
            behind: HiddenStates = found(states)
            return behind
    return states


def head_of(model: PreTrainedModel, size: int) -> Head:
    """The head as it is now, cut to the first `size` tokens; adapters on it are added to its
    weight, so that gradients reach them.
    """
    base = bare(model)
    config = base.config.get_text_config()
    layer = base.get_output_embeddings()
    if hasattr(layer, "modules_to_save"):
        layer = layer.modules_to_save[layer.active_adapters[0]]
    weight = layer.weight
    bias = getattr(layer, "bias", None)
    for name in (
        getattr(layer, "active_adapters", ())
        if hasattr(layer, "base_layer")
        else ()
    ):
        if name in getattr(layer, "lora_A", {}):
            weight = weight + layer.get_delta_weight(name)
    if weight.shape[0] > size:
        weight = weight[:size]
        bias = None if bias is None else bias[:size]
    return Head(
        weight=weight,
        bias=bias,
        scale=_scale(config),
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def _scale(config: PretrainedConfig) -> float:
    factor = next(
        (
            value
            for name in _SCALES
            if (value := getattr(config, name, None)) is not None
        ),
        None,
    )
    if factor is not None:
        return float(factor)
    divisor = getattr(
        config, "logits_scaling", None
    )  # Granite divides by it, HyperCLOVA X multiplies
    if divisor is None:
        return 1.0
    if config.model_type == "hyperclovax":
        return float(divisor)
    return 1.0 / float(divisor)
