"""Sums over tiles of what hidden states, head and bias get."""

from __future__ import annotations

import torch
from torch import Tensor

from finetune.core.libraries import GradientContext
from finetune.core.tensors import (
    HeadBias,
    HeadWeight,
    HiddenStates,
    Positions,
    RowSlopes,
    RowStates,
    Scalar,
)
from finetune.kernels.heads import add_outer, back


class Gradients:
    """Sums of what hidden states, head and bias get; None for what is frozen.

    Args:
        inputs: hidden states, the head's weight, its bias.
        needed: of each, whether it learns. That is what autograd says: within a forward pass a
            reshaped copy no longer knows that it came of something that learns.
        dtype: to sum in.
        head_dtype: to sum the gradient of the head's weight in.
    """

    def __init__(
        self,
        inputs: tuple[Tensor | None, Tensor | None, Tensor | None],
        needed: tuple[bool, ...],
        dtype: torch.dtype,
        head_dtype: torch.dtype | None = None,
    ) -> None:
        types = (dtype, head_dtype or dtype, dtype)
        sums: list[Tensor | None] = [None, None, None]
        for number, value in enumerate(inputs):
            if value is not None and needed[number]:
                sums[number] = torch.zeros(
                    value.shape, dtype=types[number], device=value.device
                )
        self.hidden, self.weight, self.bias = sums

    def add(
        self,
        positions: Positions,
        tile: RowStates,
        slope: RowSlopes,
        weight: HeadWeight,
    ) -> None:
        """A tile's part; positions may come again.

        Args:
            positions: [n] in the flat batch.
            tile: [n, H] the states there.
            slope: [n, V] of the head's linear output.
            weight: the head's, in the type to multiply in.
        """
        if self.bias is not None:
            self.bias.add_(slope.sum(dim=0, dtype=self.bias.dtype))
        if self.hidden is not None:
            of_states = back(slope, weight.detach())
            self.hidden.index_add_(
                0, positions, of_states.to(self.hidden.dtype)
            )
        if self.weight is not None:
            add_outer(self.weight, slope, tile)

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
    ) -> tuple[HiddenStates | None, HeadWeight | None, HeadBias | None]:
        """What hidden states, head and bias get, times what comes from behind the loss.

        In place: a second [V, H] would double the memory. Going backward twice is refused by
        autograd, which sees the change.
        """
        scaled: list[Tensor | None] = [None, None, None]
        sums = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        for number, (total, dtype) in enumerate(sums):
            if total is not None:
                # One type: a GPU then multiplies eight numbers at a time.
                factor = upstream.to(total.dtype)
                scaled[number] = total.mul_(factor).to(dtype)
        hidden, weight, bias = scaled
        return (
            None if hidden is None else hidden.reshape(ctx.shape),
            weight,
            bias,
        )
