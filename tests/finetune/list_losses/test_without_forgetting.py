"""Parity with the formula written out, in float64."""

from __future__ import annotations

from dataclasses import replace
from math import log

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
        t = target(case, b)
        s, old = (
            own(case, b),
            own(replace(case.teacher, targets=case.targets), b),
        )
        said = softmax({n: v / 4 for n, v in s.items()})
        label = -log(softmax(s)[0])
        terms = (
            kl(softmax({n: v / 4 for n, v in part.items()}), said)
            for part in (t, old)
        )
        learned, kept = terms
        return 0.1 * label + 16 * (0.9 * learned + kept)

    agrees("without_forgetting", case, term)
