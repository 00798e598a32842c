"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, order, others, own, softmax, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        s, ranked, share = own(case, b), order(t), softmax(t)
        terms = [share[n] * (log(sum(exp(s[m]) for m in ranked[k:]) + sum(map(exp, others(case, b)))) - s[n]) for k, n in enumerate(ranked)]
        wanted.append(sum(terms))
    assert float(registry.build("finetune.list_losses", "stable_list")(case)) == pytest.approx(mean(wanted), abs=1e-9)
