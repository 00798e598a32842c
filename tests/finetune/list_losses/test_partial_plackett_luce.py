"""Parity with the formula written out, in float64."""

from __future__ import annotations

from hypothesis import given, settings

from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    luce,
    order,
    others,
    own,
    target,
)


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        return luce(own(case, b), order(t), others(case, b))

    agrees("partial_plackett_luce", case, term)
