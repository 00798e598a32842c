"""A masked BERT as a smaller one, which says the same."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetune.core.rows import JsonObject
from finetune.students.gates import Masks, Sizes
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Heads of BERT that a smaller one can have, by the names of the classes that transformers opens
# them with.
_KINDS = {
    "BertForSequenceClassification": "AutoModelForSequenceClassification",
    "BertForTokenClassification": "AutoModelForTokenClassification",
}


@cache
def known() -> None:
    """Tells transformers of pruned models, so that it opens their folders as any other."""
    import transformers  # noqa: PLC0415 - seconds of imports

    from finetune.students import pruned_bert  # noqa: PLC0415 - as above

    config = pruned_bert.PrunedBertConfig
    transformers.AutoConfig.register(config.model_type, config)
    # Files of the package's own go with the weights.
    config.register_for_auto_class()
    for kind, auto in _KINDS.items():
        made = getattr(pruned_bert, f"Pruned{kind}")
        getattr(transformers, auto).register(config, made)
        made.register_for_auto_class(auto)


def shrunk(
    model: PreTrainedModel, masks: Masks, sizes: Sizes
) -> PreTrainedModel:
    """The smaller model; what a mask leaves of a part in part goes into its weights.

    Args:
        model: a BERT with a head of classes, whose passes went by the masks.
        masks: settled ones.
        sizes: of the model.

    Raises:
        WrongUse: nothing is left.
    """
    from finetune.students import pruned_bert  # noqa: PLC0415 - torch

    known()
    cpu = Masks(*(part.detach().float().cpu() for part in masks))
    kept = cpu.hidden.nonzero()[:, 0]
    if not len(kept):
        raise WrongUse(
            "--sparsity",
            "no hidden dimension is left",
            "a part of the model",
            "Give a smaller share.",
        )
    heads = cpu.heads * cpu.attention[:, None]
    units = cpu.units * cpu.feed[:, None]
    config = model.config.to_dict()
    for name in ("model_type", "architectures", "auto_map"):
        config.pop(name, None)
    counts = [int(count) for count in (units > 0).sum(dim=1)]
    config |= {
        "hidden_size": len(kept),
        # transformers wants heads that share the width; each layer has its own.
        "num_attention_heads": 1,
        "intermediate_size": max(1, *counts),
        "heads": [int(count) for count in (heads > 0).sum(dim=1)],
        "units": counts,
        "head_size": sizes.head_size,
        "pooled_size": sizes.hidden,
    }
    kind = getattr(pruned_bert, f"Pruned{type(model).__name__}")
    small: PreTrainedModel = kind(pruned_bert.PrunedBertConfig(**config))
    source = {
        name: value.detach().float().cpu()
        for name, value in model.state_dict().items()
    }
    weights = _weights(source, cpu, kept, sizes)
    small.load_state_dict(weights)
    return small.to(model.dtype).eval()


def facts(small: PreTrainedModel) -> JsonObject:
    """The sizes of a smaller model, for a record."""
    config = small.config
    return {
        "hidden": config.hidden_size,
        "heads": config.heads,
        "units": config.units,
        "parameters": sum(weight.numel() for weight in small.parameters()),
    }


def _weights(
    source: dict[str, Tensor], masks: Masks, kept: Tensor, sizes: Sizes
) -> dict[str, Any]:
    """The tensors of the smaller model by their names."""
    left = masks.hidden[kept]
    found: dict[str, Any] = {}
    for name, value in source.items():
        if ".encoder.layer." in name:
            continue
        if ".embeddings." in name:
            # Tables [N, d] and the norm [d]: both are scaled by what is left.
            found[name] = value[..., kept] * left
        elif name.endswith("pooler.dense.weight") or (
            name == "classifier.weight" and _of_words(source)
        ):
            found[name] = value[:, kept]
        else:
            found[name] = value
    for number in range(sizes.layers):
        found |= _layer(source, masks, kept, sizes, number)
    return found


def _of_words(source: dict[str, Tensor]) -> bool:
    """Whether the classes are of words: their head reads states, not a pooled vector."""
    return not any(".pooler." in name for name in source)


def _layer(
    source: dict[str, Tensor],
    masks: Masks,
    kept: Tensor,
    sizes: Sizes,
    number: int,
) -> dict[str, Tensor]:
    """The tensors of one layer; none of a part of which nothing is left."""
    found: dict[str, Tensor] = {}
    place = f"bert.encoder.layer.{number}."
    wide = masks.heads[number].repeat_interleave(sizes.head_size)
    parts = (
        (
            (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
            ),
            "attention.output",
            wide,
            masks.attention[number],
        ),
        (
            ("intermediate.dense",),
            "output",
            masks.units[number],
            masks.feed[number],
        ),
    )
    left = masks.hidden[kept]
    for entries, end, inner, whole in parts:
        rows = (inner * whole).nonzero()[:, 0]
        if not len(rows):
            continue
        for entry in entries:
            weight = source[f"{place}{entry}.weight"]
            found[f"{place}{entry}.weight"] = weight[rows][:, kept]
            found[f"{place}{entry}.bias"] = source[f"{place}{entry}.bias"][rows]
        dense = f"{place}{end}.dense"
        scale = inner[rows] * whole
        weight = source[f"{dense}.weight"][kept][:, rows]
        found[f"{dense}.weight"] = weight * scale * left[:, None]
        found[f"{dense}.bias"] = source[f"{dense}.bias"][kept] * whole * left
        for name in ("weight", "bias"):
            norm = f"{place}{end}.LayerNorm.{name}"
            found[norm] = source[norm][kept] * left
    return found


def write(small: PreTrainedModel, folder: str) -> None:
    """Writes a smaller model, with the file that tells transformers how to open it."""
    known()
    with torch.no_grad():
        small.save_pretrained(folder)
