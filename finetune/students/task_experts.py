"""Experts that a task chooses, in the place of a decoder's feed-forward layers, and the plain model
of one task (Kudugunta et al., arXiv:2110.03742).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from finetune.core.rows import JsonObject
from finetune.core.tensors import HiddenStates, Scalar
from finetune.students.layers import layers_of
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Two linear layers, whose product is the inner state, and one that leads out again.
_INTO = ("gate_proj", "up_proj")
_OUT = "down_proj"


class Route:
    """The task of the batch that is read.

    Attributes:
        task: its number.
    """

    task: int = 0


class Chosen(NamedTuple):
    """The experts of a task in one layer.

    Attributes:
        weights: [K], which sum to 1.
        numbers: [K] of the experts.
    """

    weights: Tensor
    numbers: Tensor


class TaskExperts(nn.Module):
    """Copies of a feed-forward layer, of which each task uses a few: the sum of what these say, by
    weights that are learnt.

    Args:
        layer: that is copied; at first all experts are like it.
        tasks: how many there are.
        experts: how many there are.
        chosen: how many of them a task uses.
        route: says which task is read.
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        tasks: int,
        experts: int,
        chosen: int,
        route: Route,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            [copy.deepcopy(layer) for _ in range(experts)]
        )
        like = next(layer.parameters())
        # Small numbers: all experts begin nearly as likely, and tasks in different ones.
        gates = torch.empty(tasks, experts).normal_(std=0.1).to(like)
        self.gates = nn.Parameter(gates)
        self.chosen = chosen
        self.route = route

    def of_task(self, task: int) -> Chosen:
        """The experts that a task uses now."""
        chances = self.gates[task].softmax(dim=-1)
        best = chances.topk(self.chosen)
        weights = best.values / best.values.sum()
        if self.chosen == 1:
            # Always 1; the gradient is that of the chance.
            weights = best.values / best.values.detach()
        return Chosen(weights, best.indices)

    def forward(self, states: HiddenStates) -> HiddenStates:
        """What the experts of the task say, weighed."""
        chosen = self.of_task(self.route.task)
        parts = [
            weight * self.experts[number](states)
            for weight, number in zip(
                chosen.weights, chosen.numbers.tolist(), strict=True
            )
        ]
        return torch.stack(parts).sum(dim=0)


def balance(gates: Tensor, chosen: int) -> Scalar:
    """Experts x the sum of (share of the choices that fall on an expert) x (its mean chance), over
    tasks: 1 where all experts are as likely, more where few are (Switch Transformers' loss, of
    tasks in the place of tokens).

    Args:
        gates: [tasks, experts] before the softmax.
        chosen: experts of a task.

    Example:
        >>> round(float(balance(torch.zeros(3, 4), 2)), 4)
        1.0
    """
    chances = gates.softmax(dim=-1)
    best = chances.topk(chosen, dim=-1).indices
    picked = torch.zeros_like(chances).scatter(1, best, 1.0 / chosen)
    experts = gates.shape[1]
    return experts * (picked.mean(dim=0) * chances.mean(dim=0)).sum()


def add_experts(
    model: PreTrainedModel, *, tasks: int, experts: int, chosen: int
) -> Route:
    """Puts experts in the place of each feed-forward layer; the model says what it said.

    Returns:
        What the task of the next batch is written into.

    Raises:
        WrongUse: a model whose feed-forward layers are of another form.
    """
    route = Route()
    for layer in layers_of(model) or [nn.Identity()]:
        inner = getattr(layer, "mlp", None)
        names = (*_INTO, _OUT)
        if not all(
            isinstance(getattr(inner, n, None), nn.Linear) for n in names
        ):
            raise WrongUse(
                f"--model of type {model.config.model_type}",
                "no layers with gate_proj, up_proj and down_proj",
                "a decoder such as Llama, Qwen or Mistral",
                "Take another model, or scratch:tiny.",
            )
        layer.mlp = TaskExperts(
            cast("nn.Module", inner),
            tasks=tasks,
            experts=experts,
            chosen=chosen,
            route=route,
        )
    return route


def experts_of(model: PreTrainedModel) -> list[TaskExperts]:
    """The layers of experts, the lowest first."""
    return [part for part in model.modules() if isinstance(part, TaskExperts)]


def plain(model: PreTrainedModel, task: int) -> PreTrainedModel:
    """The model that a task uses, a plain decoder which says the same as its experts. Of K experts
    its feed-forward layers are K times as wide.

    Args:
        model: with experts, which stays as it is.
        task: its number.
    """
    made = copy.deepcopy(model)
    width = made.config.intermediate_size
    for layer in layers_of(made) or ():
        held = cast("TaskExperts", layer.mlp)
        chosen = held.of_task(task)
        parts = [held.experts[n] for n in chosen.numbers.tolist()]
        layer.mlp = _joined(parts, chosen.weights.detach())
        width = getattr(layer.mlp, _OUT).in_features
    made.config.intermediate_size = width
    return made


def _joined(parts: Sequence[nn.Module], weights: Tensor) -> nn.Module:
    """One feed-forward layer that says the weighed sum of what several say: their inner states
    stand side by side.
    """
    made = copy.deepcopy(parts[0])
    for name in _INTO:
        own = [getattr(part, name) for part in parts]
        setattr(made, name, _linear(own, 0, [1.0] * len(own)))
    outs = [getattr(part, _OUT) for part in parts]
    setattr(made, _OUT, _linear(outs, 1, weights.tolist()))
    return made


def _linear(
    parts: Sequence[nn.Linear], dim: int, shares: Sequence[float]
) -> nn.Linear:
    """Weighed matrices side by side along a dimension; biases likewise, or their sum where outputs
    are summed.
    """
    pairs = list(zip(shares, parts, strict=True))
    weight = torch.cat([share * part.weight for share, part in pairs], dim=dim)
    biases = [
        share * part.bias for share, part in pairs if part.bias is not None
    ]
    made = nn.Linear(
        weight.shape[1], weight.shape[0], bias=bool(biases), dtype=weight.dtype
    )
    with torch.no_grad():
        made.weight.copy_(weight)
        if biases:
            inner = dim == 0
            joined = torch.cat(biases) if inner else torch.stack(biases).sum(0)
            made.bias.copy_(joined)
    return made


def routes(model: PreTrainedModel, tasks: Sequence[str]) -> JsonObject:
    """Task -> for each layer {number of an expert: its weight}."""
    found: JsonObject = {}
    for number, task in enumerate(tasks):
        found[task] = [
            _named(layer.of_task(number)) for layer in experts_of(model)
        ]
    return found


def _named(chosen: Chosen) -> dict[str, float]:
    pairs = zip(chosen.numbers.tolist(), chosen.weights.tolist(), strict=True)
    return {str(number): round(weight, 4) for number, weight in pairs}
