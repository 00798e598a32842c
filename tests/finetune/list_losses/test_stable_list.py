"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

from hypothesis import given, settings

from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    order,
    others,
    own,
    softmax,
    target,
)


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        s, ranked, share = own(case, b), order(t), softmax(t)
        terms = [
            share[n]
            * (
                log(
                    sum(exp(s[m]) for m in ranked[k:])
                    + sum(map(exp, others(case, b)))
                )
                - s[n]
            )
            for k, n in enumerate(ranked)
        ]
        return sum(terms)

    agrees("stable_list", case, term)
