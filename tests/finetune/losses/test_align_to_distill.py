"""Aligned attention maps are compared row by row; the learnt alignment gets a gradient; later epochs count less."""

from __future__ import annotations

import pytest
import torch

from finetune.losses.align_to_distill import AlignToDistill
from tests.finetune.losses.brute import same


def test_it_is_the_formula():
    torch.manual_seed(0)
    student = (
        torch.randn(2, 4, 3, 3, dtype=torch.float64)
        .softmax(-1)
        .requires_grad_()
    )
    teacher = torch.randn(2, 6, 3, 3, dtype=torch.float64).softmax(-1)
    align = torch.nn.Conv2d(4, 6, 1).double()
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    logs = align(student).log_softmax(-1)
    each = (teacher * (teacher.log() - logs)).sum(-1) * mask[:, None]
    same(
        AlignToDistill()(student, teacher, mask, align=align, epoch=2),
        0.81 * each.sum() / (5 * 6),
        student,
        align.weight,
    )
    with pytest.raises(ValueError, match="align="):
        AlignToDistill()(student, teacher, mask)
