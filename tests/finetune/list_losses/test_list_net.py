"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import log

from hypothesis import given, settings

from tests.finetune.list_losses.brute import agrees, cases, own, softmax, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        said, share = (
            softmax(own(case, b)),
            softmax({n: v / 0.5 for n, v in t.items()}),
        )
        return -sum(share[n] * log(said[n]) for n in t)

    agrees("list_net:target_temperature=0.5", case, term)
