"""Parity with the formula written out, in float64."""

from __future__ import annotations

import math
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.base import example
from finetune.list_losses.soft_nearest_neighbour import SoftNearestNeighbour
from tests.finetune.list_losses.brute import agrees, cases, others, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        s = own(case, b)
        right = [s[n] for n in s if t[n] >= 0.5]
        return log(
            sum(map(exp, [*s.values(), *others(case, b)]))
            / sum(map(exp, right))
        )

    agrees("soft_nearest_neighbour", case, term)


def test_a_query_that_nothing_answers_counts_nothing():
    targets = torch.tensor([[0.9, 0.1], [0.4, 0.1]])
    both = example(targets=targets)
    both.documents.requires_grad_()
    loss = SoftNearestNeighbour()(both)
    # By hand: the first query's cosines are 1 and 1 / sqrt 2, and 0 and 1 / sqrt 2.
    half = 2**-0.5
    total = sum(math.exp(score) for score in (1, half, 0, half))
    assert float(loss) == pytest.approx(math.log(total) - 1)
    none = example(targets=torch.zeros(2, 2))
    none.documents.requires_grad_()
    loss = SoftNearestNeighbour()(none)
    loss.backward()
    assert float(loss) == 0
    assert not none.documents.grad.any()
