"""Head, loss and gradient in one pass over tiles of counted tokens: neither model's [B, T, V] is
ever held, nothing is projected twice.

The gradient is taken in the forward pass, so upstream of it only a scalar may come: weights of
tokens go into the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from finetune.losses.base import TokenLoss, precise, reused_buffers, spare
from finetune.losses.base_parts import Sparse, rows_of_parts
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

    weight: Any
    bias: Any = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Any) -> Any:
        """[N, H] -> [N, V] in fp32 (fp64 for fp64)."""
        found = project(hidden, self.weight, slot=f"logits of {id(self)}")
        if self.bias is not None:
            found.add_(self.bias)
        if self.scale != 1.0:
            found.mul_(self.scale)
        if self.softcap is None:
            return found
        return found.div_(self.softcap).tanh_().mul_(self.softcap)


def project(rows: Any, table: Any, slot: str = "") -> Any:
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
        out = (
            spare(
                slot,
                rows.new_empty((), dtype=table.dtype).expand(
                    len(rows), len(table)
                ),
            )
            if slot
            else None
        )
        return torch.mm(rows, table.T, out=out)
    if rows.is_cuda:
        return torch.mm(rows.to(table.dtype), table.T, out_dtype=torch.float32)
    wide = rows.float()
    return torch.cat(
        [wide @ part.float().T for part in table.split(_UPCAST)], dim=1
    )


def back(slopes: Any, table: Any) -> Any:
    """Slopes [N, V] times table [V, K] in fp32: the gradient of the rows. On a GPU slopes are
    rounded to a short table's type.
    """
    if table.dtype in (torch.float32, torch.float64):
        return slopes.to(table.dtype) @ table
    if slopes.is_cuda:
        return torch.mm(slopes.to(table.dtype), table, out_dtype=torch.float32)
    total = slopes.new_zeros(slopes.shape[0], table.shape[1])
    for start in range(0, table.shape[0], _UPCAST):
        total.addmm_(
            slopes[:, start : start + _UPCAST],
            table[start : start + _UPCAST].float(),
        )
    return total


def fused(
    loss: TokenLoss,
    hidden: Any,
    head: Head,
    teacher: Callable[[Any], Any] | None,
    mask: Any,
    *,
    labels: Any = None,
    likelihood: float = 0.0,
    strength: float = 1.0,
    trust: Any = None,
    denominator: float | None = None,
    rows: int | None = None,
) -> tuple[Any, Any]:
    """Strength x loss + likelihood x cross-entropy, of tokens whose logits exist only a tile at a
    time.

    Args:
        loss: of tokens.
        hidden: [B, T, H] states of the student, already shifted: row k predicts token k.
        head: the student's.
        teacher: places [n] in the flat batch of B T tokens -> [n, V] logits in fp32, a fresh
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
    return _Fused.apply(  # type: ignore[no-any-return]
        hidden,
        head.weight,
        head.bias,
        head,
        teacher,
        mask,
        labels,
        loss,
        likelihood,
        strength,
        trust,
        denominator,
        rows,
    )


class _Fused(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: Any, weight: Any, bias: Any, *given: Any
    ) -> tuple[Any, Any]:
        (
            head,
            teacher,
            mask,
            labels,
            loss,
            likelihood,
            strength,
            trust,
            denominator,
            rows,
        ) = given
        flat = hidden.reshape(-1, hidden.shape[-1])
        dtype = precise(hidden.dtype)
        weights = mask.reshape(-1).to(dtype)
        places = weights.nonzero()[:, 0]
        divisor = (
            float(denominator)
            if denominator is not None
            else float(max(1, len(places)))
        )
        grads = Gradients((flat, weight, bias), ctx.needs_input_grad, dtype)
        total, alone = (
            torch.zeros((), dtype=torch.float64, device=flat.device)
            for _ in range(2)
        )
        with reused_buffers():
            for part in places.split(rows or max(64, NUMBERS // len(weight))):
                tile = flat[part]
                scales = weights[part] / divisor
                answers = None if labels is None else labels.reshape(-1)[part]
                logits = head.logits(tile)
                curb = (
                    None
                    if head.softcap is None
                    else 1 - (logits / head.softcap).square_()
                )
                nll = (
                    _cross_entropy(
                        spare("likelihood", logits).copy_(logits), answers
                    )
                    if likelihood
                    else None
                )
                if teacher is None:
                    values = torch.zeros_like(scales)
                    slope = logits.zero_()
                else:
                    values, slope = _taught(
                        loss, logits, teacher(part), answers
                    )
                shares = (
                    strength
                    if trust is None
                    else strength * trust.reshape(-1)[part].to(dtype)
                )
                slope.mul_((shares / loss.temperature * scales)[:, None])
                both = shares * values
                if nll is not None:
                    both = both + likelihood * nll[0]
                    slope.add_(nll[1].mul_((likelihood * scales)[:, None]))
                total += (both * scales).sum(dtype=torch.float64)
                alone += (values * scales).sum(dtype=torch.float64)
                grads.add(
                    part,
                    tile,
                    slope if curb is None else slope.mul_(curb),
                    head,
                )
        ctx.save_for_backward(grads.hidden, grads.weight, grads.bias)
        ctx.shape = hidden.shape
        ctx.types = (
            hidden.dtype,
            weight.dtype,
            None if bias is None else bias.dtype,
        )
        found = alone.to(dtype)
        ctx.mark_non_differentiable(found)
        return total.to(dtype), found

    @staticmethod
    def backward(ctx: Any, upstream: Any, *_: Any) -> tuple[Any, ...]:
        # In place: a second [V, H] would double the memory. Going backward twice is refused by
        # autograd, which sees the change.
        found = [
            None if g is None else g.mul_(upstream).to(t)
            for g, t in zip(ctx.saved_tensors, ctx.types, strict=True)
        ]
        return (
            None if found[0] is None else found[0].reshape(ctx.shape),
            *found[1:],
            *[None] * 10,
        )


def _taught(
    loss: TokenLoss, logits: Any, said: Any, answers: Any
) -> tuple[Any, Any]:
    """Value and gradient of each row; of a teacher who is known in part, over the parts that are
    known.

    Raises:
        ValueError: a loss that a teacher who is known in part cannot teach by.
    """
    if not isinstance(said, Sparse):
        return loss.rows(
            logits.div_(loss.temperature), said.div_(loss.temperature), answers
        )
    if loss.temperature != 1:
        raise ValueError(
            f"temperature={loss.temperature}; what a teacher wrote down is known at temperature "
            "1 alone"
        )
    if isinstance(loss, TopK):
        return loss.rows(logits, said)
    if not loss.parts:
        raise ValueError(
            f"{type(loss).__name__}: it needs all that a teacher says, and of this one a part is "
            "known"
        )
    return rows_of_parts(loss, logits, said)


class Gradients:
    """Sums in fp32 of what hidden states, head and bias get; None for what is frozen."""

    def __init__(
        self,
        inputs: tuple[Any, Any, Any],
        needed: tuple[bool, ...],
        dtype: torch.dtype,
    ) -> None:
        # What autograd says is needed: within a forward pass a reshaped copy no longer knows that
        # it came of something that learns.
        self.hidden, self.weight, self.bias = (
            torch.zeros(value.shape, dtype=dtype, device=value.device)
            if need and value is not None
            else None
            for value, need in zip(inputs, needed[:3], strict=True)
        )

    def add(self, places: Any, tile: Any, slope: Any, head: Head) -> None:
        """A tile's part; places may come again."""
        if head.scale != 1.0:
            slope.mul_(head.scale)
        if self.bias is not None:
            self.bias.add_(slope.sum(dim=0))
        if self.hidden is not None:
            self.hidden.index_add_(
                0,
                places,
                back(slope, head.weight.detach()).to(self.hidden.dtype),
            )
        if self.weight is not None:
            self.weight.addmm_(slope.T, tile.to(slope.dtype))


def _cross_entropy(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Value of each row and its gradient, which takes the logits' buffer."""
    places = labels[:, None]
    chosen = logits.gather(1, places)
    largest = logits.amax(dim=-1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=-1, keepdim=True)
    slope = logits.div_(total)
    slope.scatter_add_(1, places, slope.new_full(places.shape, -1.0))
    return (total.log() + largest - chosen)[:, 0], slope
