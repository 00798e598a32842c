"""Parity with the formula written out, and what the sum of the heads teaches."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.self_distillation import SelfDistillation
from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    kl,
    mean,
    score,
    softmax,
    there,
)


def by_head(case, b):
    """The scores of each head and of their sum, by place."""
    places = [(c, n) for c in range(len(case.mask)) for n in there(case, c)]
    heads = {"dense": {at: score(case, b, *at) for at in places}}
    for name in ("sparse", "multi"):
        heads[name] = {
            at: case.scale * float(case.heads[name][b][at]) for at in places
        }
    heads["sum"] = {
        at: heads["dense"][at] + 0.3 * heads["sparse"][at] + heads["multi"][at]
        for at in places
    }
    return heads


def label(values, b):
    return log(sum(map(exp, values.values()))) - values[b, 0]


def labels(case, b):
    heads = by_head(case, b)
    total = sum(label(heads[name], b) for name in ("dense", "multi", "sum"))
    return (total + 0.1 * label(heads["sparse"], b)) / 4


@given(cases())
@settings(max_examples=15)
def test_it_is_the_formula(case):
    def term(b):
        heads = by_head(case, b)
        shares = {name: softmax(heads[name]) for name in heads}
        taught = (
            kl(shares["sum"], shares["dense"])
            + 0.1 * kl(shares["sum"], shares["sparse"])
            + kl(shares["sum"], shares["multi"])
        ) / 3
        return (labels(case, b) + taught) / 2

    agrees("self_distillation", case, term)


@given(cases())
@settings(max_examples=5)
def test_the_sum_teaches_after_the_start(case):
    loss = SelfDistillation(start=1)
    wanted = mean(labels(case, b) for b in range(len(case.mask)))
    assert float(loss(case)) == pytest.approx(wanted, abs=1e-9)
    assert float(loss(case)) == pytest.approx(
        float(SelfDistillation()(case)), abs=1e-9
    )


@given(cases())
@settings(max_examples=5)
def test_a_head_moves_towards_the_sum(case):
    sparse = case.heads["sparse"].clone().requires_grad_()
    heads = {**case.heads, "sparse": sparse}
    loss = SelfDistillation(sparse_loss=1.0, sparse_score=0.0)
    (slope,) = torch.autograd.grad(loss(replace(case, heads=heads)), sparse)
    assert slope[~case.mask[None].expand_as(slope)].abs().sum() == 0
    # Probabilities are moved among the texts of the batch, so slopes sum to 0.
    assert slope.sum(dim=(1, 2)).abs().max() < 1e-9
