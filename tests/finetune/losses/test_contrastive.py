"""Contrastive distillation is the formula on paper; the curriculum gives gaps their alphas; beta rises to 1.5."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.contrastive import Contrastive
from finetune.losses.skew_kl import SkewKl
from finetune.losses.skew_reverse_kl import SkewReverseKl
from tests.finetune.losses.brute import same


def texts(seed, rows=4):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(rows, 5, 6, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    mask = torch.rand(rows, 5, generator=generator) < 0.7
    mask[:, 0] = True
    return (
        student.requires_grad_(),
        teacher,
        mask,
        torch.randint(0, 6, (rows, 5), generator=generator),
    )


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_it_is_the_formula(seed, beta):
    student, teacher, mask, _ = texts(seed)
    by = torch.tensor([True, False, True, False])
    wanted = 0.0
    for row in range(4):
        loss = (
            SkewKl(alpha=0.2)
            if by[row]
            else SkewReverseKl(alpha=0.2, detach=True)
        )
        share = (2 - beta) if by[row] else beta
        wanted = (
            wanted
            + share
            * loss(
                student[row : row + 1],
                teacher[row : row + 1],
                mask[row : row + 1],
            )
            / 2
        )
    same(
        Contrastive(alpha=0.2, beta=beta)(
            student, teacher, mask, by_teacher=by
        ),
        wanted,
        student,
    )
    assert float(wanted.detach()) >= 0


def test_equal_sides_are_0():
    student, _, mask, _ = texts(1)
    found = Contrastive()(
        student,
        student.detach(),
        mask,
        by_teacher=torch.tensor([True, False, True, False]),
    )
    assert float(found.detach()) == pytest.approx(0.0, abs=1e-12)


def test_wider_gaps_get_larger_alphas_within_their_bounds():
    likely = torch.tensor([0.9, 0.6, 0.5])
    teacher = torch.stack([likely, 1 - likely], dim=-1)[:, None].double().log()
    student = torch.full((3, 1, 2), 0.5, dtype=torch.float64).log()
    labels, mask, by = (
        torch.zeros(3, 1, dtype=torch.long),
        torch.ones(3, 1),
        torch.ones(3, dtype=torch.bool),
    )
    logs = [side[:, :, 0] for side in (student, teacher)]
    found = Contrastive(alpha=0.5).alphas(*logs, mask, by)
    gaps = (likely - 0.5).double()
    wanted = (1 - 0.5 * gaps.mean() / (gaps + 1e-5)).clamp(0.01, 0.5)
    assert found == pytest.approx(wanted.tolist())
    assert found[0] > found[1] >= found[2] == 0.01
    with pytest.raises(ValueError, match="labels"):
        Contrastive(curriculum=True)(student, teacher, mask, by_teacher=by)
    assert torch.isfinite(
        Contrastive(curriculum=True)(
            student, teacher, mask, by_teacher=by, labels=labels
        )
    )
