"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import log

from hypothesis import given, settings

from tests.finetune.list_losses.brute import agrees, cases, luce, order, own


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        cosines = own(case.teacher, b)
        places = list(cosines)
        apart = {
            n: v - cosines[n]
            for n, v in zip(
                places, sorted(cosines.values(), reverse=True), strict=True
            )
        }
        goal = {
            n: cosines[n]
            + (1 if apart[n] > 0 else -1) * log(1 + 0.5 * abs(apart[n]))
            for n in places
        }
        return luce(own(case, b), order(goal))

    agrees("fused_list_mle", case, term)
