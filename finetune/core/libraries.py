"""What is asked of the libraries whose types are not checked: one protocol each, of the few members
that are used.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class GradientContext(Protocol):
    """What an autograd function hands from its forward pass to its backward pass.

    Attributes:
        needs_input_grad: of each input, whether its gradient is wanted.
        saved_tensors: what `save_for_backward` was given.
        shape: of the input whose gradient was flattened.
        dtypes: of the inputs whose gradients were summed in a wider type; None for an absent one.
    """

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Tensor | None, ...]
    shape: torch.Size
    dtypes: tuple[torch.dtype | None, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors."""

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Says which results carry no gradient."""
