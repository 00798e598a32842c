"""The triple is the sum of its three parts on paper."""

from __future__ import annotations

import pytest
import torch

from finetune.losses.distilbert import Distilbert
from tests.finetune.losses.brute import same


def test_it_is_the_formula():
    torch.manual_seed(0)
    student, teacher = (
        torch.randn(2, 4, 7, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 4, 7, dtype=torch.float64),
    )
    states, others = (
        torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 4, 3, dtype=torch.float64),
    )
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    labels = torch.tensor([[3, -100, -100, -100], [-100, 5, -100, -100]])
    ls, lt = (student / 2).log_softmax(-1), (teacher / 2).log_softmax(-1)
    soft = 4 * ((lt.exp() * (lt - ls)).sum(-1) * mask).sum() / 5
    hard = (
        -(student.log_softmax(-1)[0, 0, 3] + student.log_softmax(-1)[1, 1, 5])
        / 2
    )
    cosine = (
        (1 - torch.cosine_similarity(states, others, dim=-1)) * mask
    ).sum() / 5
    found = Distilbert()(
        student,
        teacher,
        mask,
        labels=labels,
        student_states=states,
        teacher_states=others,
    )
    same(found, 5 * soft + 2 * hard + cosine, student, states)
    with pytest.raises(ValueError, match="needs student_states"):
        Distilbert()(student, teacher, mask, labels=labels)
