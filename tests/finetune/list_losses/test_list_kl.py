"""Parity with the formula written out, in float64."""

from __future__ import annotations

from hypothesis import given, settings

from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    kl,
    own,
    softmax,
    target,
)


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        wanted = softmax({n: 3 * v / 2 for n, v in target(case, b).items()})
        return 4 * kl(
            wanted, softmax({n: v / 2 for n, v in own(case, b).items()})
        )

    agrees("list_kl:temperature=2.0,target_scale=3.0", case, term)
