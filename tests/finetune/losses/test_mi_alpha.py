"""The bound is the formula on paper, from NWJ to InfoNCE; agreement is worth more than strangeness."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.mi_alpha import MiAlpha
from tests.finetune.losses.brute import same


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_it_is_the_formula(alpha, seed, batch):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(batch, 2, 4, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    student.requires_grad_()
    scores = [
        [
            2.0 * torch.cosine_similarity(a.mean(0), b.mean(0), dim=0)
            for b in teacher
        ]
        for a in student
    ]
    paired, others = [], []
    for y in range(batch):
        column = [scores[x][y].exp() for x in range(batch)]
        paired.append(
            scores[y][y] - (alpha * sum(column) / batch + 1 - alpha).log()
        )
        apart = [column[x] for x in range(batch) if x != y]
        mean = sum(apart) / (batch - 1)
        others.append(mean / (alpha * mean + 1 - alpha))
    wanted = -(1 + torch.stack(paired).mean() - torch.stack(others).mean())
    same(
        MiAlpha(alpha=alpha, scale=2.0)(student, teacher, torch.ones(batch, 2)),
        wanted,
        student,
        rel=1e-6,
    )


def test_agreement_is_bounded_by_the_logarithm_of_the_batch_and_beats_strangeness():
    torch.manual_seed(0)
    states, strange = torch.randn(16, 1, 32), torch.randn(16, 1, 32)
    mask = torch.ones(16, 1)
    known = float(MiAlpha(alpha=1.0)(states, states, mask))
    assert (
        -log(16) <= known < float(MiAlpha(alpha=1.0)(states, strange, mask)) - 1
    )
