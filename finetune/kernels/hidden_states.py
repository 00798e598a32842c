"""Hidden states and head of a causal language model, so that a loss can project tile by tile."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING

from finetune.kernels.heads import Head

if TYPE_CHECKING:
    from transformers import (
        PretrainedConfig,
        PreTrainedModel,
        TrainingArguments,
    )

# Names under which model families scale their logits; those of `_DIVIDES` divide by it.
_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")


def expose_hidden(model: PreTrainedModel) -> None:
    """`model(..., hidden_only=True)` then returns the last hidden states [B, T, H] and leaves the
    head out.

    With `balance=True` it is a pair: these states, and how unevenly a mixture of experts shares its
    work (a scalar, by the model's own formula).

    The call still goes through the model itself, and so through whatever wraps it (DDP, FSDP,
    adapters). Call it before they do.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    original = base.forward

    @functools.wraps(type(base).forward)
    def forward(
        self: PreTrainedModel,
        *args: TrainingArguments,
        hidden_only: bool = False,
        balance: bool = False,
        **options: object,
    ) -> object:
        if not hidden_only:
            return original(*args, **options)
        options["use_cache"] = False
        if not balance:
            return self.base_model(*args, **options).last_hidden_state
        output = self.base_model(*args, **options, output_router_logits=True)
        formula = sys.modules[type(self).__module__].load_balancing_loss_func
        mask = options.get("attention_mask")
        uneven = formula(
            output.router_logits,
            self.num_experts,
            self.num_experts_per_tok,
            mask,
        )
        return output.last_hidden_state, uneven

    base.forward = types.MethodType(forward, base)


def head_of(model: PreTrainedModel, size: int) -> Head:
    """The head as it is now, cut to the first `size` tokens; adapters on it are added to its
    weight, so that gradients reach them.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
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
