"""Losses across tokenizers over hidden states: logits of either model exist for a tile of groups at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from finetune.kernels.fused import Gradients, Head
from finetune.losses.base import precise
from finetune.losses.base_crossing import (
    CrossLoss,
    Group,
    crossing,
    side,
    sides_of,
    weights_of,
)


def fused_crossing(
    loss: CrossLoss,
    hidden: Any,
    head: Head,
    teacher: tuple[Callable[[Any], Any], int, Any],
    groups: Sequence[Sequence[Group]],
    *,
    labels: Any,
    strength: float = 1.0,
    denominator: float | None = None,
) -> Any:
    """Strength x loss, with exact gradients for the hidden states, the head's weight and its bias.

    Args:
        loss: across tokenizers.
        hidden: [B, T, H] states of the student, already shifted.
        head: the student's.
        teacher: (flat places -> [n, W] logits, its tokens a sequence, [B, U] its labels), already
            shifted.
        groups: of each sequence, as places in T and U.
        labels: [B, T] the student's.
        strength: weight of the loss.
        denominator: sequences of the larger batch.
    """
    return _Fused.apply(
        hidden,
        head.weight,
        head.bias,
        (head, loss, teacher, groups, labels, strength, denominator),
    )


class _Fused(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: Any, weight: Any, bias: Any, given: Any
    ) -> Any:
        (
            head,
            loss,
            (say, length, teacher_labels),
            groups,
            labels,
            strength,
            denominator,
        ) = given
        flat = hidden.detach().reshape(-1, hidden.shape[-1])
        dtype = precise(hidden.dtype)
        grads = Gradients((flat, weight, bias), ctx.needs_input_grad, dtype)
        ours, theirs = sides_of(groups)
        one = side(
            lambda at: head.logits(flat[at]),
            ours,
            hidden.shape[1],
            labels,
            flat.device,
        )
        two = side(say, theirs, length, teacher_labels, flat.device)
        weights = weights_of(groups, denominator, flat, dtype) * strength

        def sink(places: Any, slope: Any) -> None:
            if head.softcap is not None:
                slope.mul_(
                    1 - (head.logits(flat[places]) / head.softcap).square_()
                )
            grads.add(places, flat[places], slope, head)

        total = crossing(loss, one, two, weights, sink)
        ctx.save_for_backward(grads.hidden, grads.weight, grads.bias)
        ctx.shape = hidden.shape
        ctx.types = (
            hidden.dtype,
            weight.dtype,
            None if bias is None else bias.dtype,
        )
        return total.to(dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> tuple[Any, ...]:
        found = [
            None if g is None else g.mul_(upstream).to(t)
            for g, t in zip(ctx.saved_tensors, ctx.types, strict=True)
        ]
        return (
            None if found[0] is None else found[0].reshape(ctx.shape),
            *found[1:],
            None,
        )
