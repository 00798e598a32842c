"""Head, loss and gradient in one pass over tiles of counted tokens: neither model's [B, T, V] is
ever held, nothing is projected twice.

The gradient is taken in the forward pass, so upstream of it only a scalar may come: weights of
tokens go into the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.core.libraries import GradientContext
from finetune.core.tensors import (
    HeadBias,
    HeadWeight,
    HiddenStates,
    Labels,
    Mask,
    Positions,
    RowLabels,
    RowLogits,
    RowValues,
    Scalar,
)
from finetune.kernels.gradients import Gradients
from finetune.kernels.heads import Head
from finetune.kernels.tiles import (
    Tile,
    evaluate,
    evaluate_compiled,
    tile_rows,
)
from finetune.losses.base import (
    TokenLoss,
    divisor_of,
    precise,
    reused_buffers,
)
from finetune.losses.base_parts import TeacherAt


class Fused(NamedTuple):
    """What came of a batch.

    Attributes:
        total: strength x loss + likelihood x cross-entropy, with exact gradients for the hidden
            states, the head's weight and its bias.
        loss: the loss alone, without strength, trust or gradient.
        cross_entropy: likewise; 0 where it was not wanted.
    """

    total: Scalar
    loss: Scalar
    cross_entropy: Scalar


def fused(
    loss: TokenLoss,
    hidden: HiddenStates,
    head: Head,
    teacher: TeacherAt | None,
    mask: Mask,
    *,
    labels: Labels | None = None,
    likelihood: float = 0.0,
    strength: float = 1.0,
    trust: Mask | None = None,
    denominator: float | None = None,
    rows: int | None = None,
    compiled: bool | None = None,
    exact_head: bool = False,
) -> Fused:
    """Strength x loss + likelihood x cross-entropy, of tokens whose logits exist only a tile at a
    time.

    Args:
        loss: of tokens.
        hidden: [B, T, H] states of the student, already shifted: row k predicts token k.
        head: the student's.
        teacher: positions [n] in the flat batch of B T tokens -> [n, V] logits in a fresh buffer;
            None for the likelihood alone.
        mask: [B, T] bool, or weights; see `TokenLoss`.
        labels: [B, T], for the likelihood and for losses that need them.
        likelihood: weight of the cross-entropy to the labels.
        strength: weight of the loss.
        trust: [B, T] numbers that multiply the loss alone, not the likelihood: how much a teacher
            counts there; None for 1.
        denominator: see `TokenLoss`.
        rows: tokens in a tile; None for as many as a buffer of 39 MB holds, at least 64, and on a
            GPU of 300 MB, or less where memory is short.
        compiled: the loss is compiled (seconds, once for each loss); None for on a GPU. A head of
            fp16 never is: its slopes would be too small for their type.
        exact_head: the gradient of a bf16 head is summed over the tiles in fp32 on a GPU too, which
            takes twice its memory; a CPU always does so.

    Returns:
        The sum, and both parts alone.
    """
    run: Callable[..., tuple[Scalar, Scalar, Scalar]] = _Fused.apply
    device = hidden.device
    if compiled is None:
        compiled = device.type == "cuda"
    terms = _Terms(
        head=head,
        teacher=teacher,
        loss=loss,
        mask=mask.reshape(-1).to(precise(hidden.dtype)),
        labels=_flat(labels),
        likelihood=likelihood,
        strength=strength,
        trust=_flat(trust),
        denominator=denominator,
        rows=rows or tile_rows(len(head.weight), device),
        compiled=compiled and head.weight.dtype != torch.float16,
        exact_head=exact_head,
    )
    return Fused(*run(hidden, head.weight, head.bias, terms))


def _flat(table: Tensor | None) -> Tensor | None:
    return None if table is None else table.reshape(-1)


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """What is summed over the tokens of a flat batch; see `fused`. None of it gets a gradient."""

    head: Head
    teacher: TeacherAt | None
    loss: TokenLoss
    mask: RowValues
    labels: RowLabels | None
    likelihood: float
    strength: float
    trust: RowValues | None
    denominator: float | None
    rows: int
    compiled: bool
    exact_head: bool

    def tile(
        self, positions: Positions, linear: RowLogits, scales: RowValues
    ) -> Tile:
        """The tokens at these positions, of which the student's head says `linear` [n, V]; each
        counts by its scale [n].
        """
        weights = self.strength * scales
        if self.trust is not None:
            weights = weights * self.trust[positions].to(scales.dtype)
        return Tile(
            linear=linear,
            teacher=None if self.teacher is None else self.teacher(positions),
            labels=None if self.labels is None else self.labels[positions],
            weights=weights,
            nll_weights=self.likelihood * scales if self.likelihood else None,
        )

    def head_in_work(self) -> Head:
        """The head in the type to multiply in: bf16 on a GPU whose autocast says so, whatever the
        parameters are kept in.
        """
        weight = self.head.weight.detach()
        if weight.is_cuda and torch.is_autocast_enabled("cuda"):
            short = torch.get_autocast_dtype("cuda")
            # Slopes would be too small for fp16.
            weight = weight.to(short) if short == torch.bfloat16 else weight
        return replace(self.head, weight=weight)

    def head_sums(self) -> torch.dtype:
        """The type to sum the gradient of the head's weight in."""
        weight = self.head.weight
        if (
            weight.is_cuda
            and weight.dtype == torch.bfloat16
            and not self.exact_head
        ):
            return torch.bfloat16
        return self.mask.dtype


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: GradientContext,
        hidden: HiddenStates,
        weight: HeadWeight,
        bias: HeadBias | None,
        terms: _Terms,
    ) -> tuple[Scalar, Scalar, Scalar]:
        states = hidden.reshape(-1, hidden.shape[-1])
        dtype = terms.mask.dtype
        positions = terms.mask.nonzero()[:, 0]
        divisor = divisor_of(terms.denominator, len(positions))
        inputs = (states, weight, bias)
        gradients = Gradients(
            inputs, ctx.needs_input_grad, dtype, terms.head_sums()
        )
        both: list[RowValues] = []
        alone: list[RowValues] = []
        likely: list[RowValues] = []
        head = terms.head_in_work()
        say = evaluate_compiled if terms.compiled else evaluate
        with (
            reused_buffers(),
            torch.autocast(states.device.type, enabled=False),
        ):
            for part in torch.split(positions, terms.rows):
                rows = states[part]
                scales = terms.mask[part] / divisor
                tile = terms.tile(part, head.linear(rows), scales)
                values, nll, slope = say(terms.loss, head, tile)
                both.append(values * tile.weights)
                if nll is not None and tile.nll_weights is not None:
                    both.append(nll * tile.nll_weights)
                    likely.append(nll * scales)
                alone.append(values * scales)
                gradients.add(part, rows, slope, head.weight)
        gradients.save(ctx, (hidden, weight, bias))
        loss_alone = _total(alone, terms.mask)
        nll_alone = _total(likely, terms.mask)
        ctx.mark_non_differentiable(loss_alone, nll_alone)
        return _total(both, terms.mask), loss_alone, nll_alone

    @staticmethod
    def backward(
        ctx: GradientContext, upstream: Scalar, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return (*Gradients.scaled(ctx, upstream), None)


def _total(parts: Sequence[RowValues], like: RowValues) -> Scalar:
    """The sum of all, taken in fp64, in the type of a table."""
    if not parts:
        return like.new_zeros(())
    return torch.cat(list(parts)).sum(dtype=torch.float64).to(like.dtype)
