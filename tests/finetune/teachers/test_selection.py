"""The policy learns which teacher helps, and every row always has one."""

from __future__ import annotations

import torch

from finetune.teachers.selection import Selection


def test_shares_add_up_and_no_row_is_without_a_teacher():
    policy = Selection(3)
    policy.weights[:] = -50.0
    found = policy.choose(torch.zeros(40, 3), torch.zeros(40, 3))
    assert torch.allclose(found.sum(1), torch.ones(40))
    assert torch.allclose(found, torch.full_like(found, 1 / 3))


def test_it_finds_the_teacher_that_helps():
    policy = Selection(2, rate=0.5)
    torch.manual_seed(0)
    for _ in range(400):
        shares = policy.choose(torch.rand(8, 2), torch.rand(8, 2))
        policy.learn(float(shares[:, 0].mean() - shares[:, 1].mean()))
    after = policy.choose(torch.full((200, 2), 0.5), torch.full((200, 2), 0.5))
    assert float(after[:, 0].mean()) > 0.8
