"""Parity with the formula written out, and which of the two models it moves."""

from __future__ import annotations

from dataclasses import replace
from math import log

import torch
from hypothesis import given, settings

from finetune.list_losses.joint_list import JointList
from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    kl,
    own,
    softmax,
    there,
)


@given(cases())
@settings(max_examples=15)
def test_the_ranker_learns_the_label_and_the_retriever_the_ranker(case):
    def term(b):
        ranker = softmax({n: float(case.ranker[b, n]) for n in there(case, b)})
        return -log(ranker[0]) + kl(ranker, softmax(own(case, b)))

    agrees("joint_list", case, term)


@given(cases())
@settings(max_examples=5)
def test_the_divergence_moves_the_ranker_unless_it_is_detached(case):
    slopes = []
    for detach in (False, True):
        ranker = case.ranker.clone().requires_grad_()
        loss = JointList(detach=detach)(replace(case, ranker=ranker))
        (slope,) = torch.autograd.grad(loss, ranker)
        assert slope[~case.mask].abs().sum() == 0
        slopes.append(slope)
    ranker = case.ranker.clone().requires_grad_()
    shares = ranker.masked_fill(~case.mask, -1e4).log_softmax(dim=1)
    (alone,) = torch.autograd.grad(-shares[:, 0].mean(), ranker)
    assert torch.allclose(slopes[1], alone)
    assert not torch.allclose(slopes[0], alone)
