"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import sqrt

from hypothesis import given, settings

from tests.finetune.list_losses.brute import agrees, cases, mean, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        s = own(case, b)
        a, c = (
            [s[n] - mean(s.values()) for n in s],
            [t[n] - mean(t.values()) for n in s],
        )
        norm = sqrt(max(1e-12, sum(x * x for x in a) * sum(x * x for x in c)))
        return 1 - sum(x * y for x, y in zip(a, c, strict=True)) / norm

    agrees("pearson", case, term)
