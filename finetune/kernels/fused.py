"""Head, loss and gradient in one pass over tiles of counted tokens: neither model's [B, T, V] is
ever held, nothing is projected twice.

The gradient is taken in the forward pass, so upstream of it only a scalar may come: weights of
tokens go into the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    RowSlopes,
    RowStates,
    RowValues,
    Scalar,
    ValuesAndSlopes,
)
from finetune.losses.base import (
    TokenLoss,
    divisor_of,
    precise,
    required,
    reused_buffers,
    spare,
)
from finetune.losses.base_parts import Sparse, TeacherAt, rows_of_parts
from finetune.losses.top_k import TopK

# Numbers in a buffer of logits, of which three to five are in work: 64 rows of a vocabulary of
# 151,936, 39 MB in fp32.
NUMBERS = 64 * 151_936
# Rows of a short-float head that a CPU upcasts at a time: 16,384 x 896 fp32 numbers are 59 MB.
_UPCAST = 16_384


@dataclass(frozen=True, kw_only=True)
class Head:
    """What turns hidden states into logits.

    Attributes:
        weight: [V, H], cut to the tokenizer's size.
        bias: [V] or None.
        scale: times the logits (Cohere's logit_scale; 1 / logits_scaling of Granite).
        softcap: c of c tanh(z / c) (Gemma), after the scale; None for none.
    """

    weight: HeadWeight
    bias: HeadBias | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: RowStates) -> RowLogits:
        """[N, H] -> [N, V] in fp32 (fp64 for fp64)."""
        logits = project(hidden, self.weight, slot=f"logits of {id(self)}")
        if self.bias is not None:
            logits.add_(self.bias)
        if self.scale != 1.0:
            logits.mul_(self.scale)
        if self.softcap is None:
            return logits
        return logits.div_(self.softcap).tanh_().mul_(self.softcap)

    def cap_slope(self, logits: RowLogits) -> RowSlopes | None:
        """[N, V] the derivative of the softcap at capped logits; None where there is no cap."""
        if self.softcap is None:
            return None
        return 1 - (logits / self.softcap).square_()


def project(rows: RowStates, table: HeadWeight, slot: str = "") -> RowLogits:
    """Rows [N, K] times the transpose of table [V, K], with products and sums in fp32 whatever the
    inputs are.

    Args:
        rows: of states.
        table: a head's weight.
        slot: of the buffer that takes the result (see `spare`); "" for a new one.
    """
    if table.dtype in (torch.float32, torch.float64):
        rows = rows.detach().to(table.dtype)
        table = table.detach()
        if not slot:
            return torch.mm(rows, table.T)
        # Of the result's shape and type, without memory of its own.
        like = rows.new_empty((), dtype=table.dtype)
        out = spare(slot, like.expand(len(rows), len(table)))
        return torch.mm(rows, table.T, out=out)
    if rows.is_cuda:
        return torch.mm(rows.to(table.dtype), table.T, out_dtype=torch.float32)
    wide = rows.float()
    parts = [wide @ part.float().T for part in torch.split(table, _UPCAST)]
    return torch.cat(parts, dim=1)


def back(slopes: RowSlopes, table: HeadWeight) -> RowStates:
    """Slopes [N, V] times table [V, K] in fp32: the gradient of the rows. On a GPU slopes are
    rounded to a short table's type.
    """
    if table.dtype in (torch.float32, torch.float64):
        return slopes.to(table.dtype) @ table
    if slopes.is_cuda:
        return torch.mm(slopes.to(table.dtype), table, out_dtype=torch.float32)
    total = slopes.new_zeros(slopes.shape[0], table.shape[1])
    for start in range(0, table.shape[0], _UPCAST):
        part = slice(start, start + _UPCAST)
        total.addmm_(slopes[:, part], table[part].float())
    return total


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
) -> tuple[Scalar, Scalar]:
    """Strength x loss + likelihood x cross-entropy, of tokens whose logits exist only a tile at a
    time.

    Args:
        loss: of tokens.
        hidden: [B, T, H] states of the student, already shifted: row k predicts token k.
        head: the student's.
        teacher: positions [n] in the flat batch of B T tokens -> [n, V] logits in fp32, a fresh
            buffer; None for the likelihood alone.
        mask: [B, T] bool, or weights; see `TokenLoss`.
        labels: [B, T], for the likelihood and for losses that need them.
        likelihood: weight of the cross-entropy to the labels.
        strength: weight of the loss.
        trust: [B, T] numbers that multiply the loss alone, not the likelihood: how much a teacher
            counts there; None for 1.
        denominator: see `TokenLoss`.
        rows: tokens in a tile; None for as many as a buffer of 39 MB holds, at least 64.

    Returns:
        (the sum, with exact gradients for the hidden states, the head's weight and its bias; the
        loss alone, without a gradient).
    """
    run: Callable[..., tuple[Scalar, Scalar]] = _Fused.apply
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
        rows=rows or max(64, NUMBERS // len(head.weight)),
    )
    return run(hidden, head.weight, head.bias, terms)


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

    def tile(
        self, positions: Positions, states: RowStates, scales: RowValues
    ) -> tuple[RowValues, RowValues, RowSlopes]:
        """Of the tokens at these positions: the value of both terms, that of the loss alone, and
        the slope of both, times the scales [n], by the head's linear output.
        """
        labels = None if self.labels is None else self.labels[positions]
        logits = self.head.logits(states)
        # What needs the logits comes first: the loss takes their buffer for its slope.
        cap_slope = self.head.cap_slope(logits)
        likelihood = None
        if self.likelihood:
            copied = spare("likelihood", logits).copy_(logits)
            likelihood = _cross_entropy(copied, required("labels", labels))
        if self.teacher is None:
            values = torch.zeros_like(scales)
            slope = logits.zero_()
        else:
            answer = self.teacher(positions)
            values, slope = _taught(self.loss, logits, answer, labels)

        shares: float | RowValues = self.strength
        if self.trust is not None:
            shares = self.strength * self.trust[positions].to(scales.dtype)
        slope.mul_((shares / self.loss.temperature * scales)[:, None])
        both = shares * values
        if likelihood is not None:
            nll, nll_slope = likelihood
            both = both + self.likelihood * nll
            slope.add_(nll_slope.mul_((self.likelihood * scales)[:, None]))
        if cap_slope is not None:
            slope.mul_(cap_slope)
        return both, values, slope


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: GradientContext,
        hidden: HiddenStates,
        weight: HeadWeight,
        bias: HeadBias | None,
        terms: _Terms,
    ) -> tuple[Scalar, Scalar]:
        states = hidden.reshape(-1, hidden.shape[-1])
        dtype = terms.mask.dtype
        positions = terms.mask.nonzero()[:, 0]
        divisor = divisor_of(terms.denominator, len(positions))
        inputs = (states, weight, bias)
        gradients = Gradients(inputs, ctx.needs_input_grad, dtype)
        total = torch.zeros((), dtype=torch.float64, device=states.device)
        alone = torch.zeros_like(total)
        with reused_buffers():
            for part in torch.split(positions, terms.rows):
                tile = states[part]
                scales = terms.mask[part] / divisor
                both, values, slope = terms.tile(part, tile, scales)
                total += (both * scales).sum(dtype=torch.float64)
                alone += (values * scales).sum(dtype=torch.float64)
                gradients.add(part, tile, slope, terms.head)
        gradients.save(ctx, (hidden, weight, bias))
        loss_alone = alone.to(dtype)
        ctx.mark_non_differentiable(loss_alone)
        return total.to(dtype), loss_alone

    @staticmethod
    def backward(
        ctx: GradientContext, upstream: Scalar, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return (*Gradients.scaled(ctx, upstream), None)


def _taught(
    loss: TokenLoss,
    logits: RowLogits,
    teacher: RowLogits | Sparse,
    labels: RowLabels | None,
) -> ValuesAndSlopes:
    """Value and gradient of each row; of a teacher who is known in part, over the parts that are
    known.

    Raises:
        ValueError: a loss that a teacher who is known in part cannot teach by.
    """
    if not isinstance(teacher, Sparse):
        logits.div_(loss.temperature)
        return loss.rows(logits, teacher.div_(loss.temperature), labels)
    if loss.temperature != 1:
        raise ValueError(
            f"temperature={loss.temperature}; what a teacher wrote down is known at temperature "
            "1 alone"
        )
    if isinstance(loss, TopK):
        return loss.rows(logits, teacher)
    if not loss.parts:
        raise ValueError(
            f"{type(loss).__name__}: it needs all that a teacher says, and of this one a part is "
            "known"
        )
    return rows_of_parts(loss, logits, teacher)


class Gradients:
    """Sums in fp32 of what hidden states, head and bias get; None for what is frozen."""

    def __init__(
        self,
        inputs: tuple[Tensor | None, Tensor | None, Tensor | None],
        needed: tuple[bool, ...],
        dtype: torch.dtype,
    ) -> None:
        # What autograd says is needed: within a forward pass a reshaped copy no longer knows that
        # it came of something that learns.
        sums: list[Tensor | None] = [None, None, None]
        for number, value in enumerate(inputs):
            if value is not None and needed[number]:
                sums[number] = torch.zeros(
                    value.shape, dtype=dtype, device=value.device
                )
        self.hidden, self.weight, self.bias = sums

    def add(
        self,
        positions: Positions,
        tile: RowStates,
        slope: RowSlopes,
        head: Head,
    ) -> None:
        """A tile's part; positions may come again."""
        if head.scale != 1.0:
            slope.mul_(head.scale)
        if self.bias is not None:
            self.bias.add_(slope.sum(dim=0))
        if self.hidden is not None:
            of_states = back(slope, head.weight.detach())
            self.hidden.index_add_(
                0, positions, of_states.to(self.hidden.dtype)
            )
        if self.weight is not None:
            self.weight.addmm_(slope.T, tile.to(slope.dtype))

    def save(
        self, ctx: GradientContext, inputs: tuple[Tensor, Tensor, Tensor | None]
    ) -> None:
        """Keeps the sums for the backward pass, with the shape and the types of the inputs."""
        hidden, weight, bias = inputs
        ctx.save_for_backward(self.hidden, self.weight, self.bias)
        ctx.shape = hidden.shape
        of_bias = None if bias is None else bias.dtype
        ctx.dtypes = (hidden.dtype, weight.dtype, of_bias)

    @staticmethod
    def scaled(
        ctx: GradientContext, upstream: Scalar
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What hidden states, head and bias get, times what comes from behind the loss.

        In place: a second [V, H] would double the memory. Going backward twice is refused by
        autograd, which sees the change.
        """
        scaled: list[Tensor | None] = [None, None, None]
        sums = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        for number, (total, dtype) in enumerate(sums):
            if total is not None:
                scaled[number] = total.mul_(upstream).to(dtype)
        hidden, weight, bias = scaled
        return (
            None if hidden is None else hidden.reshape(ctx.shape),
            weight,
            bias,
        )


def _cross_entropy(logits: RowLogits, labels: RowLabels) -> ValuesAndSlopes:
    """Value of each row and its gradient, which takes the logits' buffer."""
    answers = labels[:, None]
    chosen = logits.gather(1, answers)
    largest = logits.amax(dim=-1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=-1, keepdim=True)
    slope = logits.div_(total)
    slope.scatter_add_(1, answers, slope.new_full(answers.shape, -1.0))
    return (total.log() + largest - chosen)[:, 0], slope
