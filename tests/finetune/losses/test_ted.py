"""Filtered layers are compared pair by pair; the student's filters learn, the teacher's states do not."""

from __future__ import annotations

import pytest
import torch

from finetune.losses.ted import Ted
from tests.finetune.losses.brute import same


def test_it_is_the_formula():
    torch.manual_seed(0)
    student = [
        torch.randn(1, 4, 3, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    ]
    teacher = [torch.randn(1, 4, 5, dtype=torch.float64) for _ in range(2)]
    own, other = (
        [torch.nn.Linear(n, 6).double() for _ in range(2)] for n in (3, 5)
    )
    mask = torch.tensor([[1, 1, 0, 1]]).bool()
    wanted = (
        sum(
            ((a(s)[mask] - b(t)[mask]) ** 2).mean()
            for s, t, a, b in zip(student, teacher, own, other, strict=True)
        )
        / 2
    )
    found = Ted()(
        student, teacher, mask, student_filters=own, teacher_filters=other
    )
    same(found, wanted, *student, own[0].weight)
    with pytest.raises(ValueError, match="as many of each"):
        Ted()(
            student,
            teacher,
            mask,
            student_filters=own[:1],
            teacher_filters=other,
        )
