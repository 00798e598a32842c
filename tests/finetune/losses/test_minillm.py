"""MiniLLM's advantages and policy loss are the formulas on paper; at its own texts the gradient is that of the policy gradient."""

from __future__ import annotations

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
    found = Minillm(whiten=False, normalise=normalise, gamma=0.9).advantages(
        rewards, counted
    )
    wanted = returns([0.4, -0.8, 2.0], 0.9, normalise)
    assert found[0].tolist() == pytest.approx([*wanted, 0.0])


@given(cases())
def test_advantages_are_whitened_over_counted_tokens_alone(case):
    counted = case["mask"]
    found = Minillm().advantages(case["teacher"][:, :, 0], counted)
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
    ratio = (logs - old).exp() * (logs.detach() - drawn).exp()
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
