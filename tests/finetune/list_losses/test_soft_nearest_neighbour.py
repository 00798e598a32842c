"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, others, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        s = own(case, b)
        right = [s[n] for n in s if t[n] >= 0.5]
        wanted.append(log(sum(map(exp, [*s.values(), *others(case, b)])) / sum(map(exp, right))))
    assert float(registry.build("finetune.list_losses", "soft_nearest_neighbour")(case)) == pytest.approx(mean(wanted), abs=1e-9)
