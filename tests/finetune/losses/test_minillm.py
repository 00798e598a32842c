"""MiniLLM's advantages and policy loss are the formulas on paper; at its own texts the gradient is that of the policy gradient."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given

from finetune.losses.minillm import Minillm
from finetune.losses.reverse_kl import ReverseKl
from tests.finetune.losses.brute import cases, same


def returns(rewards, gamma, normalise):
    length = len(rewards)
    found = [
        sum(gamma ** (j - k) * rewards[j] for j in range(k, length))
        for k in range(length)
    ]
    return (
        [value / (length - k) for k, value in enumerate(found)]
        if normalise
        else found
    )


@pytest.mark.parametrize("normalise", [False, True])
def test_returns_are_discounted_and_divided_by_the_tokens_left(normalise):
    rewards = torch.tensor([[0.2, -0.4, 1.0, 9.0]], dtype=torch.float64)
    counted = torch.tensor([[True, True, True, False]])
    loss = Minillm(whiten=False, normalise=normalise, gamma=0.9, single_step=0)
    found = loss.advantages(rewards, counted)
    wanted = returns([0.4, -0.8, 2.0], 0.9, normalise)
    assert found[0].tolist() == pytest.approx([*wanted, 0.0])


@pytest.mark.parametrize(
    ("normalise", "wanted"),
    [
        # Rewards are doubled; the first token's return is -0.8 + 0.9 x 2, over two tokens.
        (True, [(-0.8 + 0.9 * 2.0) / 2, 2.0, 0.0, 0.0]),
        (False, [-0.8 + 0.9 * 2.0, 2.0, 0.0, 0.0]),
    ],
)
def test_beside_the_single_step_term_a_return_begins_behind_its_token(
    normalise, wanted
):
    rewards = torch.tensor([[0.2, -0.4, 1.0, 9.0]], dtype=torch.float64)
    counted = torch.tensor([[True, True, True, False]])
    loss = Minillm(whiten=False, normalise=normalise, gamma=0.9)
    assert loss.advantages(rewards, counted)[0].tolist() == pytest.approx(
        wanted
    )


def over_all_texts(loss, student, teacher, share):
    """The gradient of the student's logits [T, V], summed over all texts of T tokens by the chance that the mixture
    draws them; a token's logits do not depend on those in front of it."""
    found = torch.zeros_like(student)
    length, size = student.shape
    mask = torch.ones(1, length, dtype=torch.bool)
    for text in product(range(size), repeat=length):
        labels = torch.tensor([text])
        logs = [
            side.detach().log_softmax(-1).gather(-1, labels.T)[:, 0][None]
            for side in (student, teacher)
        ]
        mixed = (share * logs[1].exp() + (1 - share) * logs[0].exp()).log()
        sides = (student[None], teacher[None])
        value = loss(
            *sides, mask, labels=labels, mixed_logs=mixed, denominator=1.0
        )
        (part,) = torch.autograd.grad(value, student)
        found += mixed.exp().prod() * part
    return found


@pytest.mark.parametrize(
    ("length", "share", "single_step"),
    # A mixture is exact for one token: beyond it the paper weighs each token by its own ratio.
    [(2, 0.0, 1.0), (2, 0.0, 0.0), (1, 0.4, 0.0), (1, 0.4, 1.0)],
)
def test_over_all_texts_the_gradient_is_that_of_the_reverse_kl(
    length, share, single_step
):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(length, 3, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    student.requires_grad_()
    ls, lt = student.log_softmax(-1), teacher.log_softmax(-1)
    (wanted,) = torch.autograd.grad((ls.exp() * (ls - lt)).sum(), student)
    plain = {"whiten": False, "normalise": False, "gamma": 1.0}
    loss = Minillm(single_step=single_step, reward_scale=1.0, clip=1e9, **plain)
    found = over_all_texts(loss, student, teacher, share)
    assert torch.allclose(found, wanted, atol=1e-9)


@given(cases())
def test_advantages_are_whitened_over_counted_tokens_alone(case):
    counted = case["mask"]
    loss = Minillm(single_step=0)
    found = loss.advantages(case["teacher"][:, :, 0], counted)
    chosen = found[counted]
    if len(chosen) > 2:
        assert float(chosen.mean()) == pytest.approx(0.0, abs=1e-6)
        assert float(chosen.std()) == pytest.approx(1.0, abs=0.02)
    assert found[~counted].abs().sum() == 0


@given(cases())
def test_on_its_own_texts_it_is_the_policy_gradient_and_one_step(case):
    student, teacher, mask, labels = (
        case[name] for name in ("student", "teacher", "mask", "labels")
    )
    logs, wanted = (
        x.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        for x in (student, teacher)
    )
    loss = Minillm(single_step=0.5)
    advantages = loss.advantages((wanted - logs).detach(), mask)
    surrogate = (
        -(advantages * (logs - logs.detach()).exp() * mask).sum() / mask.sum()
    )
    same(
        loss(student, teacher, mask, labels=labels),
        surrogate + 0.5 * ReverseKl()(student, teacher, mask),
        student,
    )


@given(cases())
def test_ratios_are_clipped_and_weighed_by_the_mixture(case):
    student, teacher, mask, labels = (
        case[name] for name in ("student", "teacher", "mask", "labels")
    )
    logs, wanted = (
        x.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        for x in (student, teacher)
    )
    old, drawn = logs.detach() - 0.5, logs.detach() + 0.1
    loss = Minillm(single_step=0.0)
    advantages = loss.advantages(wanted - old, mask)
    # Once: what the student was when the text was drawn plays no part.
    ratio = (logs - drawn).exp()
    clipped = torch.maximum(
        -advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)
    )
    same(
        loss(
            student,
            teacher,
            mask,
            labels=labels,
            old_logs=old,
            mixed_logs=drawn,
        ),
        (clipped * mask).sum() / mask.sum(),
        student,
    )
