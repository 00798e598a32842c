"""A teacher of k tokens is the formula of each way to treat the rest; stored and dense teachers agree; all tokens are the whole KL."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses._fused import Head, fused
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.top_k import Sparse, TopK
from tests.finetune.losses.brute import agree, cases, same


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
        return value + rest * (rest / tail).log() if missing == "tail" and k < lt.shape[-1] else value

    agree(TopK(k=k, missing=missing), each, case)


@given(cases(), st.integers(1, 12))
def test_a_tail_is_a_lower_bound_and_all_tokens_are_the_whole(case, k):
    whole = ForwardKl()(case["student"], case["teacher"], case["mask"])
    assert float(TopK(k=k)(case["student"], case["teacher"], case["mask"]).detach()) <= float(whole.detach()) + 1e-9
    for missing in ("tail", "renormalise", "drop"):
        same(TopK(k=99, missing=missing)(case["student"], case["teacher"], case["mask"]), whole, case["student"], rel=1e-7)


@given(cases(), st.integers(1, 12), st.sampled_from(["tail", "renormalise", "drop"]))
def test_stored_words_teach_as_the_teacher_does(case, k, missing):
    student, teacher, mask = case["student"], case["teacher"], case["mask"]
    size = student.shape[-1]
    best = teacher.reshape(-1, size).log_softmax(-1).topk(min(k, size), dim=-1)
    head = Head(weight=torch.eye(size, dtype=torch.float64))
    loss = TopK(k=k, missing=missing)
    stored, _ = fused(loss, student, head, lambda places: Sparse(best.indices[places], best.values[places]), mask)
    same(stored, loss(student, teacher, mask), student)


def test_other_losses_see_a_stored_teacher_renormalised_and_no_temperature():
    torch.manual_seed(0)
    student, mask = torch.randn(1, 3, 6, dtype=torch.float64), torch.ones(1, 3)
    best = torch.randn(3, 6, dtype=torch.float64).log_softmax(-1).topk(2)
    head = Head(weight=torch.eye(6, dtype=torch.float64))
    found, _ = fused(ForwardKl(), student, head, lambda places: Sparse(best.indices[places], best.values[places]), mask)
    wanted, _ = fused(TopK(missing="renormalise"), student, head, lambda places: Sparse(best.indices[places], best.values[places]), mask)
    assert float(found) == pytest.approx(float(wanted), rel=1e-9)
    with pytest.raises(ValueError, match="temperature 1 alone"):
        fused(TopK(temperature=2.0), student, head, lambda places: Sparse(best.indices[places], best.values[places]), mask)


def test_a_k_of_0_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        TopK(k=0)
