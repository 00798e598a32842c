"""The mean squared difference of states is the formula on paper; masked tokens and empty masks do nothing."""

from __future__ import annotations

import pytest
import torch

from finetune.losses.hidden_mse import HiddenMse
from tests.finetune.losses.brute import same


@pytest.mark.parametrize("normalise", [False, True])
def test_it_is_the_formula(normalise):
    torch.manual_seed(0)
    student, teacher = (
        torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 3, 4, dtype=torch.float64),
    )
    mask = torch.tensor([[1, 0, 1], [0, 1, 0]]).bool()
    one, two = (
        (x / x.norm(dim=-1, keepdim=True) if normalise else x)[mask]
        for x in (student, teacher)
    )
    same(
        HiddenMse(normalise=normalise)(student, teacher, mask),
        ((one - two) ** 2).sum() / (3 * 4),
        student,
    )
    empty = HiddenMse()(student, teacher, mask & False)
    assert float(empty.detach()) == 0
    assert torch.autograd.grad(empty, student)[0].abs().sum() == 0


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match="project"):
        HiddenMse()(torch.ones(1, 1, 3), torch.ones(1, 1, 4), torch.ones(1, 1))
