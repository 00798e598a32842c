"""Relations of queries, keys and values are the formula on paper, whatever the widths; padding neither relates nor is related to."""

from __future__ import annotations

import pytest
import torch

from finetune.losses.minilm import Minilm
from tests.finetune.losses.brute import same


def test_it_is_the_formula_on_the_real_tokens():
    torch.manual_seed(0)
    student = [
        torch.randn(2, 5, 6, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    ]
    teacher = [torch.randn(2, 5, 9, dtype=torch.float64) for _ in range(3)]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    total = 0.0
    for one, two in zip(student, teacher, strict=True):
        for row, length in ((0, 5), (1, 3)):
            for head in range(3):
                a, b = (
                    one[row, :length, head * 2 : head * 2 + 2],
                    two[row, :length, head * 3 : head * 3 + 3],
                )
                ls, lt = (
                    (x @ x.T / x.shape[1] ** 0.5).log_softmax(-1)
                    for x in (a, b)
                )
                total = total + (lt.exp() * (lt - ls)).sum()
    same(Minilm(heads=3)(student, teacher, mask), total / (3 * 3 * 8), *student)


def test_heads_that_do_not_divide_a_width_are_refused():
    states = [torch.ones(1, 2, 8)] * 3
    with pytest.raises(ValueError, match="heads must divide"):
        Minilm(heads=3)(states, states, torch.ones(1, 2))
    with pytest.raises(ValueError, match="queries, keys and values"):
        Minilm(heads=2)(states[:2], states, torch.ones(1, 2))
