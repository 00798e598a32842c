"""Losses over layers in a training: which layers they compare, and the projections that they learn
beside the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from finetune.core.tensors import HiddenStates, Mask, Scalar
from finetune.kernels.features import Features, Show, ready
from finetune.losses.base import Compares, Loss
from finetune.losses.base_features import FeatureLoss
from finetune.trainers.layer_maps import LayerMap, read_map
from finetune.trainers.loss_terms import Term

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.losses.align_to_distill import AlignToDistill
    from finetune.losses.ted import Ted

# What is compared where a term does not say.
_DEFAULTS = {"filtered": "uniform", "maps": "uniform", "exits": "all"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One loss over layers, and what it compares.

    Attributes:
        loss: of states, filtered states, maps or relations.
        layers: of both.
        learned: projections or filters of the student's side, one a pair; one alignment for maps;
            empty where the loss learns none.
        filters: of the teacher's side, held fixed; empty where there are none.
    """

    loss: Loss[Any]
    layers: LayerMap
    learned: nn.ModuleList = field(default_factory=nn.ModuleList)
    filters: nn.ModuleList = field(default_factory=nn.ModuleList)

    def value(
        self,
        ours: Features,
        theirs: Features,
        mask: Mask,
        *,
        denominator: float | None,
        epoch: int = 0,
    ) -> Scalar:
        """The mean over the pairs of layers.

        Args:
            ours: of the student, for as many positions as the mask has, or one more.
            theirs: of the teacher, likewise.
            mask: [B, T] what counts.
            denominator: see `Loss`.
            epoch: from 0, for losses that weaken with it.
        """
        length = mask.shape[1]
        kind = self.loss.compares
        if kind == "maps":
            return self._of_maps(ours, theirs, mask, denominator, epoch)
        if kind == "relations":
            pairs = [
                _related(ours, theirs, pair, mask)
                for pair in zip(*self.layers, strict=True)
            ]
            return self._mean(pairs, mask, denominator)
        states = [ours.states[n][:, :length] for n in self.layers.student]
        taught = [
            _there(theirs.states[n], mask)[:, :length]
            for n in self.layers.teacher
        ]
        if kind == "filtered":
            filtered = cast("Ted", self.loss)
            return filtered(
                states,
                taught,
                mask,
                denominator=denominator,
                student_filters=list(self.learned),
                teacher_filters=list(self.filters),
            )
        if len(self.learned):
            states = [
                project(state)
                for project, state in zip(self.learned, states, strict=True)
            ]
        return self._mean(
            list(zip(states, taught, strict=True)), mask, denominator
        )

    def _mean(
        self,
        pairs: Sequence[tuple[Any, Any]],
        mask: Mask,
        denominator: float | None,
    ) -> Scalar:
        values = [
            self.loss(one, two, mask, denominator=denominator)
            for one, two in pairs
        ]
        return torch.stack(values).mean()

    def _of_maps(
        self,
        ours: Features,
        theirs: Features,
        mask: Mask,
        denominator: float | None,
        epoch: int,
    ) -> Scalar:
        """Heads of all layers side by side."""
        length = mask.shape[1]
        one = torch.cat([ours.maps[n - 1] for n in self.layers.student], dim=1)
        two = torch.cat(
            [_there(theirs.maps[n - 1], mask) for n in self.layers.teacher],
            dim=1,
        )
        aligned = cast("AlignToDistill", self.loss)
        align = self.learned[0] if len(self.learned) else None
        return aligned(
            one[:, :, :length, :length],
            two[:, :, :length, :length],
            mask,
            denominator=denominator,
            align=align,
            epoch=epoch,
        )


def _related(
    ours: Features, theirs: Features, pair: tuple[int, int], mask: Mask
) -> tuple[list[HiddenStates], list[HiddenStates]]:
    """Queries, keys and values of one layer of each side."""
    length = mask.shape[1]
    one = [state[:, :length] for state in ours.relations[pair[0]]]
    two = [state[:, :length] for state in theirs.relations[pair[1]]]
    return one, [_there(state, mask) for state in two]


def _there(value: Tensor, mask: Mask) -> Tensor:
    """What a teacher shows, where the student is."""
    return value.to(mask.device)


def looks_inside(loss: Loss[Any]) -> bool:
    """Whether a loss wants more of the models than their logits."""
    return loss.compares != "logits" or "student_states" in loss.needs


def shown(
    terms: Sequence[Term], student: PreTrainedModel, teacher: PreTrainedModel
) -> tuple[dict[str, LayerMap], Show, Show]:
    """The layers of each term that compares layers, and what student and teacher must show.

    Raises:
        WrongUse: layers that one of the two does not have, or cannot show.
    """
    counts = [
        ready(model, Show(), where)
        for model, where in ((student, "--model"), (teacher, "--teacher"))
    ]
    maps: dict[str, LayerMap] = {}
    for term in terms:
        default = _DEFAULTS.get(term.loss.compares, "last")
        alone = term.loss.compares == "exits"
        layers = read_map(
            term.layers or default,
            counts[0],
            counts[0] if alone else counts[1],
            term.name,
        )
        maps[term.name] = layers
    kinds = {term.loss.compares for term in terms}
    related = [
        maps[term.name] for term in terms if term.loss.compares == "relations"
    ]
    shows = [_show(kinds, related, side) for side in (0, 1)]
    ready(student, shows[0], "--model")
    ready(teacher, shows[1], "--teacher")
    return maps, shows[0], shows[1]


def _show(kinds: set[Compares], related: Sequence[LayerMap], side: int) -> Show:
    """What one side must show."""
    layers: set[int] = set()
    for part in related:
        layers |= {*part[side]}
    return Show(
        states=bool(kinds - {"maps", "relations"}),
        maps="maps" in kinds,
        relations=tuple(sorted(layers)),
    )


def comparisons(
    terms: Sequence[Term],
    maps: dict[str, LayerMap],
    ours: Features,
    theirs: Features,
) -> tuple[dict[str, Comparison], nn.ModuleDict]:
    """Each term over layers with what it learns; all that they learn together.

    Args:
        terms: over layers.
        maps: of `shown`.
        ours: what the student shows of any text: its widths and heads are those of a training.
        theirs: likewise of the teacher.

    Raises:
        ValueError: widths or heads that a loss cannot compare.
    """
    made: dict[str, Comparison] = {}
    beside = nn.ModuleDict()
    for term in terms:
        layers = maps[term.name]
        learned = _learned(term.loss, layers, ours, theirs)
        filters = nn.ModuleList()
        if term.loss.compares == "filtered":
            filters = _linears(theirs, theirs, layers.teacher, layers.teacher)
            for weight in filters.parameters():
                # At first it lets all through.
                nn.init.eye_(weight)
            filters.requires_grad_(False)
            beside[f"{term.name}_of_teacher"] = filters
        if len(learned):
            beside[term.name] = learned
        made[term.name] = Comparison(
            loss=term.loss, layers=layers, learned=learned, filters=filters
        )
    return made, beside


def _learned(
    loss: Loss[Any], layers: LayerMap, ours: Features, theirs: Features
) -> nn.ModuleList:
    """What a loss learns beside the student."""
    if loss.compares == "filtered":
        return _linears(ours, theirs, *layers)
    if loss.compares == "maps" and "align" in loss.needs:
        heads = sum(ours.maps[n - 1].shape[1] for n in layers.student)
        wanted = sum(theirs.maps[n - 1].shape[1] for n in layers.teacher)
        return nn.ModuleList([nn.Conv2d(heads, wanted, 1)])
    same = isinstance(loss, FeatureLoss) and loss.same_width
    if same and ours.states[0].shape[-1] != theirs.states[0].shape[-1]:
        return _linears(ours, theirs, *layers)
    return nn.ModuleList()


def _linears(
    ours: Features,
    theirs: Features,
    student: tuple[int, ...],
    teacher: tuple[int, ...],
) -> nn.ModuleList:
    """One linear layer a pair, from the width of one side to that of the other."""
    return nn.ModuleList(
        nn.Linear(
            ours.states[one].shape[-1], theirs.states[two].shape[-1], bias=False
        )
        for one, two in zip(student, teacher, strict=True)
    )
