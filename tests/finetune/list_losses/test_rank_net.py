"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

from hypothesis import given, settings

from tests.finetune.list_losses.brute import agrees, cases, mean, own, target


def softplus(x):
    return log(1 + exp(x))


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        gaps = [
            softplus(own(case, b)[j] - own(case, b)[i])
            for i in t
            for j in t
            if t[i] > t[j]
        ]
        return mean(gaps) if gaps else None

    agrees("rank_net", case, term)
