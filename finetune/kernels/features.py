"""What a model shows of its inside: hidden states, attention maps, and queries, keys and values of
single layers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from finetune.core.tensors import AttentionMaps, HiddenStates
from finetune.students.layers import layers_of
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What projects to queries, keys and values in a layer, as model families call it.
_PROJECTIONS = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
)


@dataclass(frozen=True, kw_only=True)
class Show:
    """What is asked for.

    Attributes:
        states: all hidden states.
        maps: all attention maps, which need eager attention.
        relations: numbers of layers, from 1, whose queries, keys and values are wanted.
    """

    states: bool = False
    maps: bool = False
    relations: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.states or self.maps or bool(self.relations)


class Features(NamedTuple):
    """What a model showed of a batch; what was not asked for is empty.

    Attributes:
        states: [B, T, H] each: the embeddings, then what each layer gave, the last behind the final
            norm.
        maps: [B, heads, T, T] of each layer.
        relations: layer -> its queries, keys and values, [B, T, width] each.
    """

    states: tuple[HiddenStates, ...] = ()
    maps: tuple[AttentionMaps, ...] = ()
    relations: dict[int, tuple[HiddenStates, ...]] = {}  # noqa: RUF012 - never written to


def ready(model: PreTrainedModel, show: Show, where: str) -> int:
    """Sets a model up to show this; the number of its layers.

    Args:
        model: with or without adapters.
        show: what will be asked for.
        where: what named the model.

    Raises:
        WrongUse: its layers, or its queries, keys and values, stand under no known name.
    """
    layers = layers_of(model)
    if layers is None:
        raise WrongUse(
            where,
            f"a {type(model).__name__}",
            "a model whose layers stand in a list",
            "Take losses of tokens alone.",
        )
    if show.maps:
        model.set_attn_implementation("eager")
    for number in show.relations:
        _projections(layers[number - 1], where)
    return len(layers)


def _projections(layer: nn.Module, where: str) -> list[nn.Module]:
    """What gives queries, keys and values in a layer."""
    by_name = {
        name.rsplit(".", 1)[-1]: part for name, part in layer.named_modules()
    }
    for names in _PROJECTIONS:
        if all(name in by_name for name in names):
            return [by_name[name] for name in names]
    raise WrongUse(
        where,
        f"a {type(layer).__name__} without query, key and value layers of their own",
        "one that has them, as Llama's, Qwen's and BERT's have",
        "Take a loss of states: hidden_mse or rkd.",
    )


@contextmanager
def shown_relations(
    model: PreTrainedModel, numbers: Sequence[int]
) -> Iterator[dict[int, tuple[HiddenStates, ...]]]:
    """Within it a forward pass fills the dictionary: layer -> queries, keys, values."""
    found: dict[int, tuple[HiddenStates, ...]] = {}
    kept: dict[int, dict[int, Tensor]] = {number: {} for number in numbers}
    layers = layers_of(model)
    handles = []
    for number in numbers:
        assert layers is not None  # noqa: S101 - `ready` refuses such models
        parts = _projections(layers[number - 1], "the model")
        for place, part in enumerate(parts):
            hook = functools.partial(_keep, kept[number], place)
            handles.append(part.register_forward_hook(hook))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        for number, parts_of in kept.items():
            found[number] = tuple(parts_of[place] for place in sorted(parts_of))


def _keep(
    kept: dict[int, Tensor],
    place: int,
    module: nn.Module,  # noqa: ARG001
    inputs: object,  # noqa: ARG001
    output: Tensor,
) -> None:
    kept[place] = output
