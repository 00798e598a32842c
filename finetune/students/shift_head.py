"""A head that moves vectors by a bounded distance: what it learns cannot lead far from where they
were.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ShiftHead(torch.nn.Module):
    """y = x + reach |x| (2 sigmoid(W2 relu(W1 x)) - 1), element by element (Mizuki and Okazaki,
    arXiv:2304.11340, section 3).

    Args:
        width: D, of the vectors.
        reach: farthest that a number moves, as a share of the vector's length, above 0.

    Shapes: x [..., D] -> [..., D].

    >>> head = ShiftHead(4, reach=0.1)
    >>> x = torch.ones(2, 4)
    >>> bool(((head(x) - x).abs() <= 0.1 * 2).all())
    True
    """

    def __init__(self, width: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.inner = torch.nn.Linear(width, width, bias=False)
        self.outer = torch.nn.Linear(width, width, bias=False)
        # At first nearly nothing moves.
        torch.nn.init.normal_(self.outer.weight, std=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        """The moved vectors."""
        raw = self.outer(torch.relu(self.inner(x)))
        # 2 sigmoid(z) - 1 is tanh(z / 2).
        direction = torch.tanh(raw / 2)
        length = x.norm(dim=-1, keepdim=True)
        moved: Tensor = x + self.reach * length * direction
        return moved
