"""A teacher of k tokens is the formula of each way to treat the rest; stored and dense teachers agree; all tokens are the whole KL."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.kernels.fused import fused
from finetune.kernels.heads import Head
from finetune.losses.base import TokenLoss
from finetune.losses.base_parts import Sparse
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.top_k import TopK
from synth.core import registry
from tests.finetune.losses.brute import agree, cases, same

MADE = {
    name: registry.build("finetune.losses", name)
    for name in registry.names("finetune.losses")
}
TOKEN = [name for name, loss in MADE.items() if isinstance(loss, TokenLoss)]
PARTED = [name for name in TOKEN if MADE[name].parts]


@pytest.mark.parametrize("missing", ["tail", "renormalise", "drop"])
@given(cases(), st.integers(1, 13))
def test_it_is_the_formula(missing, case, k):
    def each(ls, ps, lt, pt, _):
        best = lt.topk(min(k, lt.shape[-1]), dim=-1)
        target, own = best.values, ls.gather(-1, best.indices)
        if missing == "renormalise":
            target = target.log_softmax(-1)
        value = (target.exp() * (target - own)).sum(-1)
        rest, tail = 1 - target.exp().sum(-1), 1 - own.exp().sum(-1)
        return (
            value + rest * (rest / tail).log()
            if missing == "tail" and k < lt.shape[-1]
            else value
        )

    agree(TopK(k=k, missing=missing), each, case)


@given(cases(), st.integers(1, 12))
def test_a_tail_is_a_lower_bound_and_all_tokens_are_the_whole(case, k):
    whole = ForwardKl()(case["student"], case["teacher"], case["mask"])
    assert (
        float(
            TopK(k=k)(case["student"], case["teacher"], case["mask"]).detach()
        )
        <= float(whole.detach()) + 1e-9
    )
    for missing in ("tail", "renormalise", "drop"):
        same(
            TopK(k=99, missing=missing)(
                case["student"], case["teacher"], case["mask"]
            ),
            whole,
            case["student"],
            rel=1e-7,
        )


@given(
    cases(),
    st.integers(1, 12),
    st.sampled_from(["tail", "renormalise", "drop"]),
)
def test_stored_words_teach_as_the_teacher_does(case, k, missing):
    student, teacher, mask = case["student"], case["teacher"], case["mask"]
    size = student.shape[-1]
    best = teacher.reshape(-1, size).log_softmax(-1).topk(min(k, size), dim=-1)
    head = Head(weight=torch.eye(size, dtype=torch.float64))
    loss = TopK(k=k, missing=missing)
    stored, *_ = fused(
        loss,
        student,
        head,
        lambda places: Sparse(best.indices[places], best.values[places]),
        mask,
    )
    same(stored, loss(student, teacher, mask), student)


def stored(teacher, k):
    best = (
        teacher.reshape(-1, teacher.shape[-1])
        .log_softmax(-1)
        .topk(min(k, teacher.shape[-1]), dim=-1)
    )
    return lambda places: Sparse(best.indices[places], best.values[places])


def by_parts(case, k):
    """Logits of the k likeliest tokens of the teacher, and of all others as one."""
    size = case["student"].shape[-1]
    best = case["teacher"].topk(min(k, size), dim=-1).indices
    rest = torch.ones_like(case["teacher"], dtype=torch.bool).scatter_(
        -1, best, value=False
    )
    found = []
    for side in ("student", "teacher"):
        logs = case[side].log_softmax(-1)
        parts = [logs.gather(-1, best)]
        if k < size:
            parts.append(
                logs.masked_fill(~rest, -torch.inf).logsumexp(-1, keepdim=True)
            )
        found.append(torch.cat(parts, dim=-1))
    return found


@pytest.mark.parametrize("name", PARTED)
@settings(max_examples=25)
@given(cases(), st.integers(1, 13))
def test_a_stored_teacher_teaches_by_the_loss_of_its_parts_exactly(
    name, case, k
):
    size = case["student"].shape[-1]
    loss, head = (
        registry.build("finetune.losses", name),
        Head(weight=torch.eye(size, dtype=torch.float64)),
    )
    found, *_ = fused(
        loss, case["student"], head, stored(case["teacher"], k), case["mask"]
    )
    plain = TopK(k=99) if name == "top_k" else loss
    student, teacher = by_parts(case, k)
    same(
        found, plain(student, teacher, case["mask"]), case["student"], rel=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PARTED)
@settings(max_examples=25)
@given(cases(), st.integers(1, 13))
def test_a_teacher_who_is_the_student_teaches_nothing_by_any_loss_that_is_accepted(
    name, dtype, case, k
):
    student = case["student"].detach().to(dtype).requires_grad_()
    head = Head(weight=torch.eye(student.shape[-1], dtype=dtype))
    found, *_ = fused(
        registry.build("finetune.losses", name),
        student,
        head,
        stored(student.detach(), k),
        case["mask"],
    )
    small = 1e-12 if dtype == torch.float64 else 1e-6
    assert abs(float(found.detach())) < small
    (gradient,) = torch.autograd.grad(found, student)
    if (
        name != "total_variation"
    ):  # its gradient is a sign, which rounding turns
        assert gradient.abs().max() < small


@pytest.mark.parametrize("name", PARTED)
@settings(max_examples=25)
@given(cases(), st.integers(1, 6))
def test_what_a_teacher_does_not_say_belongs_to_the_tail(name, case, k):
    size = case["student"].shape[-1]
    loss, head = (
        registry.build("finetune.losses", name),
        Head(weight=torch.eye(size, dtype=torch.float64)),
    )
    say = stored(case["teacher"], k)

    def with_blanks(places):
        """The same, filled up with the other tokens at -inf, as a teacher behind an API is."""
        ids, logs = say(places)
        every = torch.arange(size).expand(len(ids), size)
        return Sparse(
            every, logs.new_full(every.shape, -torch.inf).scatter(1, ids, logs)
        )

    known, *_ = fused(loss, case["student"], head, say, case["mask"])
    blank, *_ = fused(loss, case["student"], head, with_blanks, case["mask"])
    same(known, blank, case["student"])
    nothing = Sparse(
        torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), -torch.inf)
    )
    silent, *_ = fused(
        loss,
        case["student"],
        head,
        lambda places: Sparse(*(x.expand(len(places), 1) for x in nothing)),
        case["mask"],
    )
    assert float(silent.detach()) == 0


@pytest.mark.parametrize("name", PARTED)
def test_a_sure_teacher_does_not_forbid_what_its_rounding_hides(name):
    """A tail of 1e-9 is 0 in 32 bits; a student who gives it 1e-4 is near the teacher all the same."""
    size = 50
    sure = torch.full((1, 1, size), -9.2 - 3.9)
    sure[..., 0] = 0.0
    known = Sparse(
        torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), -1e-9)
    )
    found, *_ = fused(
        registry.build("finetune.losses", name),
        sure,
        Head(weight=torch.eye(size)),
        lambda _: known,
        torch.ones(1, 1),
    )
    assert 0 <= float(found) < 1e-2


def test_losses_of_all_that_a_teacher_says_refuse_one_who_says_a_part():
    student, mask, head = (
        torch.randn(1, 3, 6),
        torch.ones(1, 3),
        Head(weight=torch.eye(6)),
    )
    say = stored(torch.randn(1, 3, 6), 2)
    refused = [name for name in TOKEN if name not in PARTED]
    assert refused == ["dac_kl", "dpkd", "logit_mse", "self_evolution", "tsld"]
    for name in refused:
        with pytest.raises(ValueError, match="a part is known"):
            fused(
                registry.build("finetune.losses", name),
                student,
                head,
                say,
                mask,
                labels=torch.zeros(1, 3, dtype=torch.long),
            )
    with pytest.raises(ValueError, match="temperature 1 alone"):
        fused(TopK(temperature=2.0), student, head, say, mask)


def test_a_k_of_0_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        TopK(k=0)
