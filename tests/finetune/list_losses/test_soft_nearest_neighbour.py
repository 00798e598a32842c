"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

from hypothesis import given, settings

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
