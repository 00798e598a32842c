"""Laws over every loss of tokens: zero at equality, never negative, masked tokens irrelevant, finite whatever comes in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from finetune.losses.base import TokenLoss
from synth.core import registry
from tests.conftest import assert_documented
from tests.finetune.losses.brute import cases, same

NAMES = registry.names("finetune.losses")
TOKEN = [
    name
    for name in NAMES
    if issubclass(registry.find("finetune.losses", name), TokenLoss)
]


def made(name):
    return registry.build("finetune.losses", name)


def called(loss, case, **change):
    case = {**case, **change}
    return loss(
        case["student"],
        case["teacher"],
        case["mask"],
        **{need: case[need] for need in loss.needs},
    )


def test_the_laws_saw_the_room():
    assert len(TOKEN) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_says_what_a_reader_needs_to_choose(name):
    assert_documented("finetune.losses", name)


@pytest.mark.parametrize("name", TOKEN)
@given(cases())
def test_zero_where_both_agree_and_never_negative(name, case):
    loss = made(name)
    if loss.divergence:
        equal = called(loss, case, teacher=case["student"].detach())
        assert abs(float(equal.detach())) < 1e-12
        (gradient,) = torch.autograd.grad(equal, case["student"])
        assert gradient.abs().max() < 1e-12
        assert float(called(loss, case).detach()) >= -1e-12


@pytest.mark.parametrize("name", TOKEN)
@given(cases())
def test_masked_tokens_are_irrelevant_and_get_no_gradient(name, case):
    loss, mask = made(name), case["mask"]
    changed = torch.where(
        mask[:, :, None], case["student"].detach(), 7.0
    ).requires_grad_()
    other = torch.where(mask[:, :, None], case["teacher"], -torch.inf)
    found = called(loss, case, student=changed, teacher=other)
    assert float(found.detach()) == pytest.approx(
        float(called(loss, case).detach()), abs=1e-12
    )
    (gradient,) = torch.autograd.grad(found, changed)
    assert gradient[~mask].abs().sum() == 0


@pytest.mark.parametrize("name", TOKEN)
@given(cases())
def test_an_empty_mask_is_0_with_a_gradient_of_0(name, case):
    found = called(made(name), case, mask=torch.zeros_like(case["mask"]))
    assert float(found.detach()) == 0.0
    (gradient,) = torch.autograd.grad(found, case["student"])
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("name", TOKEN)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16]
)
@settings(max_examples=6)
@given(cases())
def test_finite_in_short_floats_and_with_logits_of_minus_infinity(
    name, dtype, case
):
    student, teacher = (
        case[side].detach().to(dtype) for side in ("student", "teacher")
    )
    for hidden in ("neither", "teacher", "student", "both", "all"):
        one, two = student.clone(), teacher.clone()
        if hidden in ("student", "both"):
            one[..., 0] = -torch.inf
        if hidden in ("teacher", "both"):
            two[..., 0] = -torch.inf
        if hidden == "all":
            one[:], two[:] = -torch.inf, -torch.inf
        found = called(
            made(name), case, student=one.requires_grad_(), teacher=two
        )
        assert torch.isfinite(found)
        assert torch.isfinite(torch.autograd.grad(found, one)[0]).all()


@pytest.mark.parametrize("name", TOKEN)
def test_one_token_of_one_class(name):
    logits = torch.zeros(1, 1, 1, requires_grad=True)
    case = {
        "student": logits,
        "teacher": torch.ones(1, 1, 1),
        "mask": torch.ones(1, 1),
        "labels": torch.zeros(1, 1, dtype=torch.long),
    }
    found = called(made(name), case)
    assert torch.isfinite(found)
    assert torch.isfinite(torch.autograd.grad(found, logits)[0]).all()


@pytest.mark.parametrize("name", TOKEN)
@given(cases())
def test_weights_multiply_and_a_denominator_divides(name, case):
    loss = made(name)
    if loss.needs == () and type(loss).__call__ is TokenLoss.__call__:
        whole = called(loss, case)
        doubled = loss(case["student"], case["teacher"], 2.0 * case["mask"])
        parted = loss(
            case["student"],
            case["teacher"],
            case["mask"],
            denominator=float(case["mask"].sum()) * 4,
        )
        same(doubled / 2, whole, case["student"])
        same(parted * 4, whole, case["student"])


@pytest.mark.parametrize("name", TOKEN)
@given(cases())
def test_bf16_is_computed_in_fp32(name, case):
    loss = made(name)
    short = {
        side: case[side].detach().to(torch.bfloat16)
        for side in ("student", "teacher")
    }
    exact = {side: value.double() for side, value in short.items()}
    one, two = (
        short["student"].requires_grad_(),
        exact["student"].requires_grad_(),
    )
    found, wanted = (
        called(loss, {**case, **short}, student=one),
        called(loss, {**case, **exact}, student=two),
    )
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), rel=1e-4, abs=1e-6
    )
    if loss.divergence:
        assert float(found.detach()) >= -1e-6
    mine, true = (
        torch.autograd.grad(found, one)[0].double(),
        torch.autograd.grad(wanted, two)[0],
    )
    # The gradient is computed in fp32 and rounded once, to the 8 bits that the logits have.
    assert (mine - true).norm() <= 4e-3 * true.norm() + 1e-6


@pytest.mark.parametrize("name", TOKEN)
def test_shapes_that_do_not_fit_are_refused(name):
    loss, logits = made(name), torch.zeros(2, 3, 5)
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        loss(logits, logits, torch.ones(2, 4))
    if loss.same_tokenizer:
        with pytest.raises(ValueError, match="uld"):
            loss(logits, torch.zeros(2, 3, 6), torch.ones(2, 3))
    for _ in loss.needs:
        with pytest.raises(ValueError, match="needs"):
            loss(logits, logits, torch.ones(2, 3))
