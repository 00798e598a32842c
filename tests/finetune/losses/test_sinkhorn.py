"""The transport plan is the algorithm on paper, its gradient goes through the scaling; one sample is the plain L1 distance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from finetune.losses.sinkhorn import Sinkhorn
from tests.finetune.losses.brute import cases, same


@given(cases())
def test_it_is_the_algorithm(case):
    student, teacher, mask = case["student"], case["teacher"], case["mask"]
    one, two = ((x[mask] / 2).softmax(-1) for x in (student, teacher))
    cost = torch.stack(
        [torch.stack([(a - b).abs().sum() for b in two]) for a in one]
    )
    plan = (-cost / 0.3).exp()
    for _ in range(5):
        plan = plan / plan.sum(1, keepdim=True)
        plan = plan / plan.sum(0, keepdim=True)
    same(
        Sinkhorn(smoothing=0.3, rounds=5, scale=0.5)(student, teacher, mask),
        0.5 * (plan * cost).sum(),
        student,
    )


def test_one_sample_and_no_sample():
    student, teacher = (
        torch.randn(1, 1, 4, requires_grad=True),
        torch.randn(1, 1, 4),
    )
    wanted = ((student / 2).softmax(-1) - (teacher / 2).softmax(-1)).abs().sum()
    assert float(
        Sinkhorn(scale=1)(student, teacher, torch.ones(1, 1)).detach()
    ) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert float(Sinkhorn()(student, teacher, torch.zeros(1, 1)).detach()) == 0
    with pytest.raises(ValueError, match="above 0"):
        Sinkhorn(smoothing=0)
