"""Distances and angles between samples are the formulas on paper, whatever the widths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.rkd import Rkd
from tests.finetune.losses.brute import same


def huber(a, b):
    return torch.nn.functional.smooth_l1_loss(a, b)


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_it_is_the_formula(seed, batch):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(
        batch, 3, 4, dtype=torch.float64, generator=generator
    ).requires_grad_()
    teacher = torch.randn(batch, 3, 6, dtype=torch.float64, generator=generator)
    mask = torch.tensor([[1, 1, 0]] * batch)
    parts = []
    for states in (student, teacher):
        vectors = states[:, :2].mean(1)
        distances = torch.stack([torch.stack([(a - b).norm() if i != j else (a * 0).sum() for j, b in enumerate(vectors)])
                                 for i, a in enumerate(vectors)])  # fmt: skip
        unit = [
            [
                (b - a) / (b - a).norm() if i != j else a * 0
                for j, b in enumerate(vectors)
            ]
            for i, a in enumerate(vectors)
        ]
        angles = torch.stack(
            [
                torch.stack([torch.stack([x @ y for y in row]) for x in row])
                for row in unit
            ]
        )
        parts.append(
            (distances / (distances.sum() / (batch * (batch - 1))), angles)
        )
    wanted = 1.5 * huber(parts[0][0], parts[1][0]) + 2.0 * huber(
        parts[0][1], parts[1][1]
    )
    same(Rkd(distance=1.5)(student, teacher, mask), wanted, student, rel=1e-6)


def test_equal_vectors_and_single_samples_are_finite():
    for batch in (1, 3):
        student = torch.ones(batch, 2, 4, requires_grad=True)
        found = Rkd()(student, torch.randn(batch, 2, 5), torch.ones(batch, 2))
        assert torch.isfinite(found)
        assert torch.isfinite(torch.autograd.grad(found, student)[0]).all()
    with pytest.raises(ValueError, match="B, T, G"):
        Rkd()(torch.ones(2, 2, 4), torch.ones(2, 3, 4), torch.ones(2, 2))
