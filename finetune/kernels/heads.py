"""What turns hidden states into logits, and the products that go through it both ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import (
    HeadBias,
    HeadWeight,
    RowLogits,
    RowSlopes,
    RowStates,
)
from finetune.losses.base import precise, spare

# Rows of a short-float head that a CPU upcasts at a time: 16,384 x 896 fp32 numbers are 59 MB.
_UPCAST = 16_384
# Numbers at whose multiples a row of logits begins on a GPU: matrix units want 16 bytes.
ALIGNED = 8
_WIDE = (torch.float32, torch.float64)


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
        """[N, H] -> [N, V] in a buffer that may be overwritten.

        In fp32 (fp64 for fp64); on a GPU a head that only multiplies gives its own type, as the
        model itself does.
        """
        linear = self.linear(hidden)
        if self.plain:
            return linear
        return self.finished(linear.to(precise(linear.dtype)))

    @property
    def plain(self) -> bool:
        """It only multiplies."""
        return self.bias is None and self.scale == 1.0 and self.softcap is None

    def linear(self, hidden: RowStates) -> RowLogits:
        """[N, H] -> [N, V] before bias, scale and cap, in the type of `project`."""
        return project(hidden, self.weight, slot=f"logits of {id(self)}")

    def finished(self, linear: RowLogits) -> RowLogits:
        """Bias, scale and cap upon what `linear` gave, in place."""
        if self.bias is not None:
            linear.add_(self.bias)
        if self.scale != 1.0:
            linear.mul_(self.scale)
        if self.softcap is None:
            return linear
        return linear.div_(self.softcap).tanh_().mul_(self.softcap)

    def cap_slope(self, logits: RowLogits) -> RowSlopes | None:
        """[N, V] the derivative of the softcap at capped logits; None where there is no cap."""
        if self.softcap is None:
            return None
        return 1 - (logits / self.softcap).square_()


def dense(head: Head, states: RowStates) -> RowLogits:
    """[N, H] -> [N, V] for autograd, in fp32 or better."""
    logits: RowLogits = torch.nn.functional.linear(
        states.to(head.weight.dtype), head.weight, head.bias
    )
    logits = head.scale * logits.to(precise(logits.dtype))
    if head.softcap is None:
        return logits
    return head.softcap * (logits / head.softcap).tanh()


def project(rows: RowStates, table: HeadWeight, slot: str = "") -> RowLogits:
    """Rows [N, K] times the transpose of table [V, K].

    Products are summed in fp32 whatever the inputs are. A CPU gives them so (fp64 for a table of
    fp64); a GPU rounds them to the table's type, as the model itself does, and begins each row at a
    multiple of 16 bytes.

    Args:
        rows: of states.
        table: a head's weight.
        slot: of the buffer that takes the result (see `spare`); "" for a new one.
    """
    if rows.is_cuda:
        out = _aligned(rows, table, slot)
        rows = rows.detach().to(table.dtype)
        table = table.detach()
        sizes = _sizes(len(table))
        columns = torch.split(out, sizes, dim=1)
        for part, column in zip(
            torch.split(table, sizes), columns, strict=True
        ):
            torch.mm(rows, part.T, out=column)
        return out
    if table.dtype in _WIDE:
        rows = rows.detach().to(table.dtype)
        table = table.detach()
        if not slot:
            return torch.mm(rows, table.T)
        out = spare(slot, _like(rows, table.dtype, len(table)))
        return torch.mm(rows, table.T, out=out)
    wide = rows.float()
    parts = [wide @ part.float().T for part in torch.split(table, _UPCAST)]
    return torch.cat(parts, dim=1)


def _aligned(rows: RowStates, table: HeadWeight, slot: str) -> RowLogits:
    """An empty [N, V] of the table's type whose rows begin where matrix units read fast."""
    size = len(table)
    like = _like(rows, table.dtype, aligned(size))
    padded = spare(slot, like) if slot else torch.empty_like(like)
    return padded[:, :size]


def _like(rows: RowStates, dtype: torch.dtype, width: int) -> RowLogits:
    """Of the shape [N, width] and a type, without memory of its own."""
    number = rows.new_empty((), dtype=dtype)
    return number.expand(len(rows), width)


def aligned(size: int) -> int:
    """The least multiple of 8 from a size on."""
    return size + (-size) % ALIGNED


def _sizes(size: int) -> list[int]:
    """Tokens of a vocabulary that matrix units take at once, and a rest of fewer than 8: with the
    rest among them a product takes four times as long.
    """
    rest = size % ALIGNED
    if rest == 0:
        return [size]
    return [size - rest, rest]


def back(slopes: RowSlopes, table: HeadWeight) -> RowStates:
    """Slopes [N, V] times table [V, K] in fp32: the gradient of the rows. On a GPU slopes are
    rounded to a short table's type.
    """
    if table.dtype in _WIDE:
        return slopes.to(table.dtype) @ table
    if slopes.is_cuda:
        return _back_short(slopes.to(table.dtype), table)
    total = slopes.new_zeros(slopes.shape[0], table.shape[1])
    for start in range(0, table.shape[0], _UPCAST):
        part = slice(start, start + _UPCAST)
        total.addmm_(slopes[:, part], table[part].float())
    return total


def _back_short(slopes: RowSlopes, table: HeadWeight) -> RowStates:
    sizes = _sizes(len(table))
    columns = torch.split(slopes, sizes, dim=1)
    products = [
        torch.mm(column, part, out_dtype=torch.float32)
        for column, part in zip(columns, torch.split(table, sizes), strict=True)
    ]
    total = products[0]
    for rest in products[1:]:
        total += rest
    return total


def add_outer(total: HeadWeight, slopes: RowSlopes, rows: RowStates) -> None:
    """Adds the transpose of slopes [N, V] times rows [N, K] to a total [V, K]: the gradient of the
    table. Products are summed in fp32, then added in the total's type.
    """
    rows = rows.to(slopes.dtype)
    if not rows.is_cuda:
        total.addmm_(slopes.T, rows)
        return
    sizes = _sizes(len(total))
    wide = total.dtype
    columns = torch.split(slopes, sizes, dim=1)
    for kept, column in zip(torch.split(total, sizes), columns, strict=True):
        if slopes.dtype == wide:
            kept.addmm_(column.T, rows)
        else:
            torch.addmm(kept, column.T, rows, out_dtype=wide, out=kept)
