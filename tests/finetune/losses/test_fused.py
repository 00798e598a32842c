"""The fused form equals the dense one in value and in every gradient, for every loss of tokens, head and mixture with the likelihood."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.kernels.fused import fused
from finetune.kernels.heads import Head, project
from tests.finetune.losses.brute import same
from tests.finetune.losses.test_laws import TOKEN, made


def setting(seed, *, dtype=torch.float64, bias=False, scale=1.0, softcap=None):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, grad=False):
        return (
            torch.randn(*shape, dtype=torch.float64, generator=generator)
            .to(dtype)
            .requires_grad_(grad)
        )

    hidden, weight, teacher = (
        draw(2, 7, 6, grad=True),
        draw(11, 6, grad=True),
        draw(2, 7, 11),
    )
    head = Head(
        weight=weight,
        bias=draw(11, grad=True) if bias else None,
        scale=scale,
        softcap=softcap,
    )
    mask = torch.rand(2, 7, generator=generator) * (
        torch.rand(2, 7, generator=generator) < 0.7
    )
    mask[0, 0] = 1.0
    return (
        hidden,
        head,
        teacher,
        mask,
        torch.randint(0, 11, (2, 7), generator=generator),
    )


def given_logits(teacher):
    return lambda places: teacher.reshape(-1, teacher.shape[-1])[places].to(
        torch.promote_types(teacher.dtype, torch.float32)
    )


def dense_logits(hidden, head):
    logits = hidden @ head.weight.T
    logits = (logits if head.bias is None else logits + head.bias) * head.scale
    return (
        logits
        if head.softcap is None
        else head.softcap * (logits / head.softcap).tanh()
    )


@pytest.mark.parametrize(
    "name", [name for name in TOKEN if not made(name).reweighs]
)
@given(
    st.integers(0, 10**6),
    st.sampled_from(
        [{}, {"bias": True, "scale": 0.3}, {"softcap": 2.0, "scale": 1.5}]
    ),
    st.integers(1, 5),
)
def test_fused_is_dense(name, seed, how, rows):
    hidden, head, teacher, mask, labels = setting(seed, **how)
    loss = made(name)
    found, alone, _ = fused(
        loss,
        hidden,
        head,
        given_logits(teacher),
        mask,
        labels=labels,
        rows=rows,
    )
    wanted = loss(dense_logits(hidden, head), teacher, mask, labels=labels)
    assert float(alone) == pytest.approx(float(wanted.detach()))
    assert not alone.requires_grad
    wanted_again = loss(
        dense_logits(hidden, head), teacher, mask, labels=labels
    )
    leaves = [
        hidden,
        head.weight,
        *([head.bias] if head.bias is not None else []),
    ]
    one = torch.autograd.grad(3.0 * found, leaves)
    two = torch.autograd.grad(3.0 * wanted_again, leaves)
    for mine, true in zip(one, two, strict=True):
        assert torch.allclose(mine, true, rtol=1e-9, atol=1e-12)


@given(
    st.integers(0, 10**6), st.floats(0, 2), st.floats(0, 2), st.integers(1, 20)
)
def test_the_likelihood_is_mixed_in(seed, likelihood, strength, denominator):
    hidden, head, teacher, mask, labels = setting(seed, softcap=3.0)
    loss = made("jsd:temperature=2.0")
    logits = dense_logits(hidden, head)
    nll = -logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    wanted = (
        strength * loss(logits, teacher, mask, denominator=denominator)
        + likelihood * (nll * mask).sum() / denominator
    )
    found, *_ = fused(
        loss,
        hidden,
        head,
        given_logits(teacher),
        mask,
        labels=labels,
        likelihood=likelihood,
        strength=strength,
        denominator=denominator,
    )
    one, two = (
        torch.autograd.grad(x, (hidden, head.weight)) for x in (found, wanted)
    )
    assert float(found.detach()) == pytest.approx(float(wanted.detach()))
    assert all(
        torch.allclose(a, b, atol=1e-12) for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize(
    "name", ["forward_kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl"]
)
@pytest.mark.parametrize("noise", [0.03, 0.3, 3.0])
def test_bf16_inputs_give_the_gradient_of_float64_and_nothing_negative(
    name, noise
):
    torch.manual_seed(0)
    size, width, count = 3000, 48, 40
    hidden, weight = (
        torch.randn(1, count, width).bfloat16(),
        (torch.randn(size, width) * 0.6).bfloat16(),
    )
    teacher = (
        hidden.float() @ weight.float().T + noise * torch.randn(1, count, size)
    ).bfloat16()
    mask = torch.ones(1, count)
    leaves = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    loss = made(name)
    found, *_ = fused(
        loss, leaves[0], Head(weight=leaves[1]), given_logits(teacher), mask
    )
    exact = [x.double().requires_grad_() for x in (hidden, weight)]
    wanted = loss(exact[0] @ exact[1].T, teacher.double(), mask)
    assert float(found.detach()) >= -1e-6
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), rel=1e-4, abs=1e-6
    )
    mine = torch.autograd.grad(found, leaves)
    true = torch.autograd.grad(wanted, exact)
    for one, two in zip(mine, true, strict=True):
        # The gradient itself is handed over in bf16, whose rounding is 2^-9 at most; beneath it there is less than a thousandth.
        assert (
            one.double() - two.to(torch.bfloat16).double()
        ).norm() <= 1e-3 * two.norm() + 0.1 * (two - two.bfloat16()).norm()


def test_states_cut_out_of_longer_ones_get_their_gradient():
    hidden, head, teacher, mask, labels = setting(6)
    longer = torch.cat(
        [hidden.detach(), hidden.detach()[:, :1]], dim=1
    ).requires_grad_()
    one, *_ = fused(
        made("forward_kl"),
        longer[:, :-1],
        head,
        given_logits(teacher),
        mask,
        labels=labels,
    )
    two, *_ = fused(
        made("forward_kl"),
        hidden,
        head,
        given_logits(teacher),
        mask,
        labels=labels,
    )
    (mine,), (true,) = (
        torch.autograd.grad(one, longer),
        torch.autograd.grad(two, hidden),
    )
    assert true.abs().max() > 0
    assert torch.allclose(mine[:, :-1], true)


def test_short_heads_are_projected_in_fp32():
    torch.manual_seed(1)
    rows, table = (
        torch.randn(5, 64).bfloat16(),
        torch.randn(40_000, 64).bfloat16(),
    )
    wanted = rows.double() @ table.double().T
    assert (
        (project(rows, table).double() - wanted).abs().max()
        < 1e-4
        < ((rows @ table.T).double() - wanted).abs().max()
    )


def test_frozen_parts_get_nothing_and_going_backward_twice_is_refused():
    hidden, head, teacher, mask, labels = setting(4)
    frozen = Head(weight=head.weight.detach())
    found, *_ = fused(
        made("forward_kl"),
        hidden,
        frozen,
        given_logits(teacher),
        mask,
        labels=labels,
    )
    found.backward(retain_graph=True)
    assert hidden.grad is not None
    with pytest.raises(RuntimeError, match=r"inplace|second time"):
        found.backward()


def test_an_empty_mask_is_0_with_gradients_of_0():
    hidden, head, teacher, mask, _ = setting(5)
    found, *_ = fused(
        made("jsd"), hidden, head, given_logits(teacher), torch.zeros_like(mask)
    )
    same(
        found,
        found.detach() * 0 + 0 * hidden.sum() + 0 * head.weight.sum(),
        hidden,
    )


@given(
    st.integers(0, 10**6),
    st.sampled_from([{}, {"bias": True, "scale": 0.3}, {"softcap": 2.0}]),
    st.sampled_from(["uld", "hybrid"]),
)
def test_across_tokenizers_fused_is_dense(seed, how, name):
    from finetune.kernels.fused_crossing import TeacherSide, fused_crossing
    from synth.core import registry

    hidden, head, _, _, labels = setting(seed, **how)
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(2, 5, 9, dtype=torch.float64, generator=generator)
    teacher_labels = torch.randint(0, 9, (2, 5), generator=generator)
    groups = [
        [((0,), (0, 1)), ((1, 2, 3), (2,)), ((5,), (4,))],
        [((2, 3), (1,))],
    ]
    loss = registry.build(
        "finetune.losses",
        {
            "name": name,
            **({"pairs": ((0, 1), (3, 2))} if name == "hybrid" else {}),
        },
    )
    found = fused_crossing(
        loss,
        hidden,
        head,
        TeacherSide(given_logits(teacher), 5, teacher_labels),
        groups,
        labels=labels,
        strength=0.5,
    )
    wanted = loss(
        dense_logits(hidden, head),
        teacher,
        torch.ones(2, 7),
        labels=labels,
        teacher_labels=teacher_labels,
        groups=groups,
    )
    leaves = [
        hidden,
        head.weight,
        *([head.bias] if head.bias is not None else []),
    ]
    assert float(found.detach()) == pytest.approx(0.5 * float(wanted.detach()))
    for mine, true in zip(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(0.5 * wanted, leaves),
        strict=True,
    ):
        assert torch.allclose(mine, true, rtol=1e-8, atol=1e-12)
