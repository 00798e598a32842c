"""Hard-concrete gates: formulas against float64 by hand, and how many weights they leave."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.students.gates import (
    Gates,
    Masks,
    Sizes,
    drawn,
    opened,
    settled,
    sparsity_of,
)

SIZES = Sizes(layers=2, heads=3, head_size=4, units=5, hidden=12)
ODDS = st.floats(-4.5, 4.5)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@given(odds=ODDS, uniform=st.floats(0.001, 0.999))
def test_a_gate_is_the_formula_on_paper(odds, uniform):
    """Equations 10 and 11 of arXiv:1712.01312."""
    stretched = (
        sigmoid((math.log(uniform) - math.log(1 - uniform) + odds) / (2 / 3))
        * 1.2
        - 0.1
    )
    found = drawn(
        torch.tensor(odds, dtype=torch.float64),
        torch.tensor(uniform, dtype=torch.float64),
    )
    assert float(found) == pytest.approx(min(1, max(0, stretched)), abs=1e-12)


@given(odds=ODDS)
def test_the_share_of_open_gates_is_what_is_expected(odds):
    """Equation 12, and the mean of draws that are evenly spaced."""
    by_hand = sigmoid(odds - 2 / 3 * math.log(0.1 / 1.1))
    found = float(opened(torch.tensor(odds, dtype=torch.float64)))
    assert found == pytest.approx(by_hand, abs=1e-9)
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    share = (drawn(torch.full((20_000,), odds).double(), uniform) > 0).double()
    assert float(share.mean()) == pytest.approx(found, abs=1e-3)


def test_gates_that_are_not_drawn_close_the_lowest():
    odds = torch.tensor([[3.0, -3.0, 2.0, -4.0], [4.0, 4.0, 4.0, 4.0]])
    found = settled(odds)
    # 4 gates of which 0.99 + 0.2 + 0.97 + 0.08 are expected to be open.
    assert (found[0] > 0).tolist() == [True, False, True, False]
    assert float(found[0, 0]) == pytest.approx(sigmoid(3.0 / (2 / 3) * 0.8))
    assert (found[1] > 0).all()


def by_hand(masks):
    """Sums over layers, heads or units, and dimensions (arXiv:2204.00408, section 2.2)."""
    kept = 0.0
    for layer in range(SIZES.layers):
        for dimension in masks.hidden.tolist():
            for head in masks.heads[layer].tolist():
                open_ = float(masks.attention[layer]) * head * dimension
                kept += 4 * SIZES.head_size * open_
            for unit in masks.units[layer].tolist():
                kept += 2 * float(masks.feed[layer]) * unit * dimension
    return 1 - kept / (2 * (4 * 12 * 12 + 2 * 5 * 12))


@given(seed=st.integers(0, 99))
def test_the_sparsity_is_the_sum_on_paper(seed):
    gates = Gates(SIZES, seed).double()
    draw = torch.Generator().manual_seed(seed)
    for part in gates.odds:
        part.data.normal_(0, 2, generator=draw)
    wanted = by_hand(Masks(*(opened(part.detach()) for part in gates.odds)))
    assert float(gates.sparsity()) == pytest.approx(wanted, abs=1e-12)
    gates.multipliers.data = torch.tensor([0.5, -2.0]).double()
    apart = wanted - 0.6
    penalty = 0.5 * apart - 2.0 * apart**2
    assert float(gates.penalty(0.6)) == pytest.approx(penalty, abs=1e-12)
    masks = gates.settled(0.5)
    there = Masks(*((part > 0).double() for part in masks))
    assert sparsity_of(masks, SIZES) == pytest.approx(by_hand(there), abs=1e-6)


def test_gates_and_multipliers_meet_the_wanted_sparsity():
    """Nobody but the penalty moves them: gates downhill, multipliers uphill."""
    gates = Gates(SIZES)
    assert float(gates.sparsity()) < 0.25
    optimizer = torch.optim.AdamW(
        [
            {"params": list(gates.odds)},
            {"params": [gates.multipliers], "maximize": True},
        ],
        lr=0.1,
        weight_decay=0.0,
    )
    for _ in range(400):
        torch.autograd.backward(gates.penalty(0.6))
        optimizer.step()
        optimizer.zero_grad()
        gates.bound()
    assert float(gates.sparsity()) == pytest.approx(0.6, abs=0.03)
    assert all(float(part.abs().max()) < 4.61 for part in gates.odds)


def test_drawn_gates_have_a_gradient_and_settled_ones_have_none():
    gates = Gates(SIZES)
    torch.manual_seed(0)
    torch.autograd.backward(sum(part.sum() for part in gates.drawn()))
    assert float(gates.units.grad.abs().sum()) > 0
    assert not any(part.requires_grad for part in gates.settled(0.5))


@given(seed=st.integers(0, 99), wanted=st.floats(0.05, 0.95))
def test_settled_gates_take_out_the_share_that_is_wanted(seed, wanted):
    """As near as one gate more or less comes; the first to close are those of the lowest log-odds."""
    sizes = Sizes(layers=2, heads=4, head_size=4, units=64, hidden=16)
    gates = Gates(sizes, seed)
    draw = torch.Generator().manual_seed(seed)
    for part in (gates.units, gates.heads, gates.hidden):
        part.data.normal_(0, 2, generator=draw)
    masks = gates.settled(wanted)
    assert sparsity_of(masks, sizes) == pytest.approx(wanted, abs=0.13)
    for odds, left in zip(gates.units, masks.units, strict=True):
        if 0 < int((left > 0).sum()) < len(left):
            assert odds[left > 0].min() >= odds[left == 0].max()
