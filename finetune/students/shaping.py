"""Students that are trained for a shape: layers that are left out at random (LayerDrop), weights
that are rounded in every pass (quantisation-aware training).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from finetune.settings import Shape, TrainConfig
from finetune.students.layers import layers_of
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Of the mean size of a row's weights: below it a ternary weight is 0 (Ternary Weight Networks,
# arXiv:1605.04711).
_TERNARY = 0.7


def shape_student(
    model: PreTrainedModel, config: TrainConfig, processes: int
) -> None:
    """Has a student's passes go as `config.shape` says; its weights are what they are.

    Args:
        model: that is about to be trained.
        config: of the training.
        processes: that train it.

    Raises:
        WrongUse: a model whose layers cannot be found, or hold no linear ones; several processes
            that would leave out other layers each.
    """
    shape = config.shape
    if not shape.layer_drop and shape.weight_bits is None:
        return
    layers = layers_of(model)
    if layers is None:
        raise _unknown(shape, config.model, "layers in a list")
    if shape.weight_bits is not None:
        found = list(_linears(layers))
        if not found:
            raise _unknown(shape, config.model, "linear layers")
        for linear in found:
            passes = functools.partial(_multiply, linear, shape.weight_bits)
            linear.forward = passes  # type: ignore[method-assign]
    if shape.layer_drop and processes > 1:
        raise WrongUse(
            f"--layer-drop {shape.layer_drop:g}",
            f"{processes} processes, which would leave out other layers each",
            "one process",
            "Leave --processes out.",
        )
    if shape.layer_drop:
        for layer in layers:
            layer.forward = _dropping(layer, shape.layer_drop)


def settle(model: PreTrainedModel, shape: Shape) -> None:
    """Rounds the weights of a trained student to what its passes read: rounded again they are the
    same.
    """
    layers = None if shape.weight_bits is None else layers_of(model)
    if shape.weight_bits is None or layers is None:
        return
    with torch.no_grad():
        for linear in _linears(layers):
            linear.weight.copy_(rounded(linear.weight, shape.weight_bits))


def rounded(weight: Tensor, bits: int) -> Tensor:
    """[N, K] the nearest weights that so many bits can say, each row with a scale of its own.

    With 2 bits a weight is -a, 0 or a, where a row's a is the mean size of its larger weights; with
    more it is one of 2^bits - 1 whole numbers around 0, times the row's largest weight over the
    largest number.

    >>> rounded(torch.tensor([[0.1, -1.0, 0.9]]), 2).tolist()
    [[0.0, -0.949999988079071, 0.949999988079071]]
    """
    wide = weight.float()
    sizes = wide.abs()
    if bits == 2:
        large = sizes > _TERNARY * sizes.mean(dim=1, keepdim=True)
        count = large.sum(dim=1, keepdim=True).clamp(min=1)
        scale = (sizes * large).sum(dim=1, keepdim=True) / count
        ternary: Tensor = wide.sign() * large * scale
        return ternary.to(weight.dtype)
    most = 2 ** (bits - 1) - 1
    least = torch.finfo(wide.dtype).tiny
    scale = (sizes.amax(dim=1, keepdim=True) / most).clamp(min=least)
    nearest: Tensor = (wide / scale).round() * scale
    return nearest.to(weight.dtype)


def _multiply(linear: nn.Linear, bits: int, states: Tensor) -> Tensor:
    """A linear layer with rounded weights, whose gradient goes to the weights as they are (straight
    through).
    """
    weight = linear.weight
    step = rounded(weight.detach(), bits) - weight.detach()
    product: Tensor = nn.functional.linear(states, weight + step, linear.bias)
    return product


def _dropping(layer: nn.Module, share: float) -> Callable[..., Tensor]:
    """The forward pass of a layer that hands on what it was given, at so many of its passes in
    training.
    """
    original = layer.forward

    @functools.wraps(original)
    def forward(states: Tensor, *args: object, **options: object) -> Tensor:
        if layer.training and torch.rand(()) < share:
            return states
        behind: Tensor = original(states, *args, **options)
        return behind

    return forward


def _linears(layers: nn.ModuleList) -> Iterator[nn.Linear]:
    for part in layers.modules():
        if isinstance(part, nn.Linear):
            yield part


def _unknown(shape: Shape, model: str, wanted: str) -> WrongUse:
    flag, value = next(shape.given())
    return WrongUse(
        f"{flag} {value}",
        f"--model {model}, which has none",
        wanted,
        "Leave it out, or take another student.",
    )
