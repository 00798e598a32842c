"""Two low-rank adapters around a frozen linear layer, and a gate between them (arXiv:2312.12832,
section 3.2).
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from finetune.core.rows import JsonObject
from finetune.core.tensors import Labels, TokenIds
from finetune.data.tokens import IGNORED

Mode = Literal["negative", "both", "base"]
# Width of the gate's queries and keys; the paper does not say.
_GATE = 64


class Gated(nn.Module):
    """base(x) + sum over both adapters of a V(h): a in [0.5, 1.5] for the positive one, in [-0.5,
    0.5] for the negative one.

    At the start the positive adapter is zero, both gates are even (a = 1 and 0), and V is the
    identity: V adds a bottleneck whose last layer is zero, so that training starts from the base
    model itself.

    Args:
        base: the layer, which is frozen.
        r: rank of the adapters.
        alpha: their scale is alpha / r.
        dropout: of their input.
        bottleneck: width of V.
    """

    def __init__(
        self,
        base: nn.Linear,
        *,
        r: int,
        alpha: float,
        dropout: float,
        bottleneck: int,
    ) -> None:
        super().__init__()
        wide = base.in_features
        out = base.out_features
        self.base = base
        self.scale = alpha / r
        self.mode = "both"
        self.negative, negative_up = _low_rank(wide, r, out)
        self.positive, positive_up = _low_rank(wide, r, out)
        self.query = nn.Linear(wide, _GATE, bias=False)
        self.key = nn.Linear(out, _GATE, bias=False)
        value_down = nn.Linear(out, bottleneck)
        value_up = nn.Linear(bottleneck, out)
        self.value = nn.Sequential(value_down, nn.GELU(), value_up)
        self.dropout = nn.Dropout(dropout)
        for layer in (negative_up, positive_up, value_up, self.key):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(value_up.bias)
        weight = base.weight
        self.to(device=weight.device, dtype=weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        plain: Tensor = self.base(x)
        if self.mode == "base":
            return plain
        kept = self.dropout(x)
        wrong: Tensor = self.scale * self.negative(kept)
        if self.mode == "negative":
            return plain + wrong
        sides = torch.stack([self.scale * self.positive(kept), wrong], dim=-2)
        # [..., 2]: how well each side's keys meet the input's query.
        products: Tensor = self.key(sides) @ self.query(x)[..., None]
        affinity = products[..., 0] / sqrt(_GATE)
        share = affinity.softmax(dim=-1) + affinity.new_tensor([0.5, -0.5])
        values: Tensor = sides + self.value(sides)
        gated: Tensor = share[..., None] * values
        return plain + gated.sum(dim=-2)


def _low_rank(wide: int, r: int, out: int) -> tuple[nn.Sequential, nn.Linear]:
    """An adapter, and its second layer."""
    down = nn.Linear(wide, r, bias=False)
    up = nn.Linear(r, out, bias=False)
    return nn.Sequential(down, up), up


def adapt(
    model: nn.Module,
    *,
    targets: tuple[str, ...],
    r: int,
    alpha: float,
    dropout: float,
    bottleneck: int,
) -> int:
    """Puts adapters around the linear layers whose names end so, freezes all else; how many layers
    those were.
    """
    for weight in model.parameters():
        weight.requires_grad_(False)
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(tuple(targets))
    ]
    for name, layer in layers:
        parent, _, last = name.rpartition(".")
        setattr(
            model.get_submodule(parent),
            last,
            Gated(
                layer, r=r, alpha=alpha, dropout=dropout, bottleneck=bottleneck
            ),
        )
    return len(layers)


def _gates(model: nn.Module) -> list[tuple[str, Gated]]:
    return [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, Gated)
    ]


def set_mode(model: nn.Module, mode: Mode) -> None:
    """Makes it its base, the base with the negative adapter (which then trains), or with both (the
    rest trains).
    """
    for _, part in _gates(model):
        part.mode = mode
        for name, weight in part.named_parameters():
            side = name.split(".")[0]
            weight.requires_grad_(
                side != "base" and (side == "negative") == (mode == "negative")
            )


def state(model: nn.Module) -> JsonObject:
    """Weights of adapters and gates, by name."""
    parts = (
        (f"{prefix}.{name}", weight)
        for prefix, part in _gates(model)
        for name, weight in part.named_parameters()
    )
    return {
        name: weight.detach().contiguous()
        for name, weight in parts
        if ".base." not in name
    }


def divergence(model: nn.Module, ids: TokenIds, labels: Labels) -> float:
    """Mean over the labelled tokens of KL(negative || both), in nats.

    Args:
        model: with adapters; it is left in the mode `both`.
        ids: [1, T].
        labels: [1, T], -100 where a token does not count.
    """
    logs = []
    for mode in ("negative", "both"):
        set_mode(model, mode)
        with torch.no_grad():
            logs.append(
                model(input_ids=ids).logits[0, :-1].float().log_softmax(dim=-1)
            )
    wrong, right = logs
    each = (wrong.exp() * (wrong - right)).sum(dim=-1)
    mask = labels[0, 1:] != IGNORED
    return float(each[mask].mean()) if mask.any() else 0.0
