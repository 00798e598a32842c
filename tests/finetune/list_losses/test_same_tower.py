"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

from hypothesis import given, settings

from tests.finetune.list_losses.brute import agrees, cases, own, score


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        first = [score(case, b, c, 0) for c in range(len(case.mask))]
        hard = [v for n, v in own(case, b).items() if n]
        queries = [
            case.scale * float(case.queries[b] @ case.queries[c])
            for c in range(len(case.mask))
            if c != b
        ]
        return log(sum(map(exp, [*first, *hard, *queries]))) - first[b]

    agrees("same_tower", case, term)
