"""Hard-concrete gates that decide which parts of an encoder stay (L0 regularisation), and how many
weights they leave.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from finetune.core.tensors import Scalar

# The stretched interval of a gate, and its temperature (arXiv:1712.01312, section 4.1).
_LOW, _HIGH = -0.1, 1.1
_HEAT = 2 / 3
# Uniform draws keep so far from 0 and 1.
_EDGE = 1e-6
# Log-odds of a gate stay within these, so that it can still turn.
_MOST = math.log(100.0)
# By which log-odds are scaled for a gate that is no longer drawn (arXiv:1910.04732).
_SETTLED = 0.8
# Halvings of the range of the one number by which settled gates are moved, and what it has beyond
# the log-odds themselves, so that all gates close at its one end and open at the other.
_HALVINGS = 30
_SPAN = 4.0
# Gates begin open; those of units at even odds, as the released code of CoFi has it.
_OPEN = 10.0
_SPREAD = 1e-2


class Sizes(NamedTuple):
    """Of an encoder.

    Attributes:
        layers: L.
        heads: H of each.
        head_size: width of a head.
        units: I, of the feed-forward part of each.
        hidden: d.
    """

    layers: int
    heads: int
    head_size: int
    units: int
    hidden: int

    @property
    def weights(self) -> int:
        """Of the matrices of all layers, without biases and norms: what may be taken out."""
        attention = 4 * self.heads * self.head_size * self.hidden
        feed = 2 * self.units * self.hidden
        return self.layers * (attention + feed)


class Masks(NamedTuple):
    """What is left of each part: 0 to 1, 0 for nothing.

    Attributes:
        hidden: [d].
        heads: [L, H].
        units: [L, I].
        attention: [L] of a layer's whole attention.
        feed: [L] of its whole feed-forward part.
    """

    hidden: Tensor
    heads: Tensor
    units: Tensor
    attention: Tensor
    feed: Tensor


def opened(odds: Tensor) -> Tensor:
    """Probability that a gate is not 0, from its log-odds.

    >>> round(float(opened(torch.tensor(0.0))), 4)
    0.8318
    """
    # ln of (0 - low) / (high - 0): where the stretched distribution passes 0.
    zero = math.log(-_LOW / _HIGH)
    chance = torch.sigmoid(odds - _HEAT * zero)
    return chance.clamp(_EDGE, 1 - _EDGE)


def drawn(odds: Tensor, uniform: Tensor) -> Tensor:
    """Gates, 0 to 1 with both ends, from uniform draws above 0 and below 1.

    >>> drawn(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.01, 0.5, 0.99])).tolist()
    [0.0, 0.5, 1.0]
    """
    logits = uniform.log() - (1 - uniform).log()
    plain = torch.sigmoid((logits + odds) / _HEAT)
    stretched = plain * (_HIGH - _LOW) + _LOW
    return stretched.clamp(0.0, 1.0)


def settled(odds: Tensor) -> Tensor:
    """Gates that are no longer drawn: of each row as many are 0 as are expected to be, those of the
    lowest log-odds.

    Args:
        odds: [..., N] log-odds.
    """
    width = odds.shape[-1]
    rows = odds.detach().reshape(-1, width)
    soft = torch.sigmoid(rows / _HEAT * _SETTLED)
    left = opened(rows).sum(dim=-1)
    for row, kept in zip(soft, left.tolist(), strict=True):
        closed = round(width - kept)
        lowest = row.argsort()[:closed]
        row[lowest] = 0.0
    return soft.reshape(odds.shape)


class Gates(nn.Module):
    """The gates of an encoder, and the multipliers of what they must leave (CoFi, arXiv:2204.00408,
    sections 2.2 and 3.1).

    Args:
        sizes: of the encoder.
        seed: of the first log-odds.
    """

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        super().__init__()
        self.sizes = sizes
        draw = torch.Generator().manual_seed(seed)
        layers = sizes.layers

        def odds(*shape: int, mean: float = _OPEN) -> nn.Parameter:
            noise = torch.randn(*shape, generator=draw)
            first = mean + _SPREAD * noise
            return nn.Parameter(first)

        self.hidden = odds(sizes.hidden)
        self.heads = odds(layers, sizes.heads)
        self.units = odds(layers, sizes.units, mean=0.0)
        self.attention = odds(layers)
        self.feed = odds(layers)
        # Of the distance to the wanted sparsity, and of its square; they climb.
        self.multipliers = nn.Parameter(torch.zeros(2))
        self.bound()

    @property
    def odds(self) -> Masks:
        """Log-odds of all gates."""
        return Masks(
            hidden=self.hidden,
            heads=self.heads,
            units=self.units,
            attention=self.attention,
            feed=self.feed,
        )

    def bound(self) -> None:
        """Keeps log-odds where a gate can still turn."""
        for part in self.odds:
            part.data.clamp_(-_MOST, _MOST)

    def drawn(self) -> Masks:
        """Gates of one pass in training, with a gradient."""
        made = []
        for part in self.odds:
            uniform = torch.empty_like(part)
            uniform.uniform_(_EDGE, 1 - _EDGE)
            made.append(drawn(part, uniform))
        return Masks(*made)

    def settled(self, wanted: float) -> Masks:
        """Gates as they stand, without a gradient, that take out what is nearest to the wanted
        share of the weights.

        The released code closes as many as are expected to be closed. Before the gates have parted
        that takes out another share than is expected of them all, since a weight needs several:
        here all log-odds are moved by one number until the share is met.
        """
        low, high = -2 * _MOST - _SPAN, 2 * _MOST + _SPAN
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            masks = self._settled(middle)
            if sparsity_of(masks, self.sizes) >= wanted:
                low = middle
            else:
                high = middle

        def apart(masks: Masks) -> float:
            return abs(sparsity_of(masks, self.sizes) - wanted)

        both = [self._settled(move) for move in (low, high)]
        return min(both, key=apart)

    def _settled(self, move: float) -> Masks:
        """Each whole layer is a row of its own."""
        hidden, heads, units, attention, feed = (
            part.detach() + move for part in self.odds
        )
        whole = [settled(part[:, None])[:, 0] for part in (attention, feed)]
        return Masks(
            hidden=settled(hidden),
            heads=settled(heads),
            units=settled(units),
            attention=whole[0],
            feed=whole[1],
        )

    def sparsity(self) -> Scalar:
        """The expected share (0 to 1) of the layers' weights that is taken out."""
        chances = map(opened, self.odds)
        return 1 - _left(Masks(*chances), self.sizes)

    def penalty(self, wanted: float) -> Scalar:
        """What the gates minimise and the multipliers maximise: l1 (s - t) + l2 (s - t)^2, of the
        expected sparsity s and the wanted one t.
        """
        apart = self.sparsity() - wanted
        first, second = self.multipliers
        total: Scalar = first * apart + second * apart.square()
        return total


def sparsity_of(masks: Masks, sizes: Sizes) -> float:
    """The share (0 to 1) of the layers' weights that masks take out."""
    there = [(part > 0).float() for part in masks]
    left = _left(Masks(*there), sizes)
    return 1 - float(left)


def _left(parts: Masks, sizes: Sizes) -> Scalar:
    """The share of weights that stays, each part with a probability or 0 or 1: a weight is there
    where its layer, its head or unit, and its hidden dimension are.
    """
    hidden = parts.hidden.sum()
    heads = parts.attention[:, None] * parts.heads
    units = parts.feed[:, None] * parts.units
    # Query, key, value and output of a head; both matrices of a unit.
    attention = 4 * sizes.head_size * heads.sum()
    feed = 2 * units.sum()
    kept: Scalar = hidden * (attention + feed)
    return kept / sizes.weights
