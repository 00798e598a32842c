"""Losses across tokenizers over hidden states: logits of either model exist for a tile of groups at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.core.libraries import GradientContext
from finetune.core.tensors import (
    HeadBias,
    HeadWeight,
    HiddenStates,
    Labels,
    Positions,
    RowLogits,
    RowSlopes,
    RowValues,
    Scalar,
)
from finetune.kernels.gradients import Gradients
from finetune.kernels.heads import Head
from finetune.losses.base import precise
from finetune.losses.base_crossing import (
    CrossLoss,
    Group,
    LogitsAt,
    crossing,
    side,
    sides_of,
    weights_of,
)


class TeacherSide(NamedTuple):
    """What a teacher of another tokenizer gives to a batch.

    Attributes:
        logits_at: flat positions of its shifted tokens -> [n, W] logits.
        length: its shifted tokens a sequence.
        labels: [B, U] its tokens.
    """

    logits_at: LogitsAt
    length: int
    labels: Labels


def fused_crossing(
    loss: CrossLoss,
    hidden: HiddenStates,
    head: Head,
    teacher: TeacherSide,
    groups: Sequence[Sequence[Group]],
    *,
    labels: Labels,
    strength: float = 1.0,
    denominator: float | None = None,
) -> Scalar:
    """Strength x loss, with exact gradients for the hidden states, the head's weight and its bias.

    Args:
        loss: across tokenizers.
        hidden: [B, T, H] states of the student, already shifted.
        head: the student's.
        teacher: its logits, already shifted.
        groups: of each sequence, as positions in T and U.
        labels: [B, T] the student's.
        strength: weight of the loss.
        denominator: sequences of the larger batch.
    """
    run: Callable[..., Scalar] = _Fused.apply
    weights = weights_of(
        groups, denominator, precise(hidden.dtype), hidden.device
    )
    terms = _Terms(head, loss, teacher, groups, labels, weights * strength)
    return run(hidden, head.weight, head.bias, terms)


class _Terms(NamedTuple):
    head: Head
    loss: CrossLoss
    teacher: TeacherSide
    groups: Sequence[Sequence[Group]]
    labels: Labels
    weights: RowValues


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: GradientContext,
        hidden: HiddenStates,
        weight: HeadWeight,
        bias: HeadBias | None,
        terms: _Terms,
    ) -> Scalar:
        head, loss, teacher, groups, labels, weights = terms
        states = hidden.detach().reshape(-1, hidden.shape[-1])
        inputs = (states, weight, bias)
        gradients = Gradients(inputs, ctx.needs_input_grad, weights.dtype)

        def logits_at(positions: Positions) -> RowLogits:
            logits = head.logits(states[positions])
            return logits.to(weights.dtype)

        def sink(positions: Positions, slope: RowSlopes) -> None:
            if head.softcap is not None:
                capped = logits_at(positions) / head.softcap
                slope.mul_(1 - capped.square_())
            slope.mul_(head.scale)
            gradients.add(positions, states[positions], slope, head.weight)

        ours, theirs = sides_of(groups)
        device = states.device
        student_side = side(logits_at, ours, hidden.shape[1], labels, device)
        teacher_side = side(
            teacher.logits_at, theirs, teacher.length, teacher.labels, device
        )
        total = crossing(loss, student_side, teacher_side, weights, sink)
        gradients.save(ctx, (hidden, weight, bias))
        return total.to(weights.dtype)

    @staticmethod
    def backward(
        ctx: GradientContext, upstream: Scalar
    ) -> tuple[Tensor | None, ...]:
        return (*Gradients.scaled(ctx, upstream), None)
