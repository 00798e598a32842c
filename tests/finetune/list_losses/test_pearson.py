"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        s = own(case, b)
        a, c = [s[n] - mean(s.values()) for n in s], [t[n] - mean(t.values()) for n in s]
        norm = sqrt(max(1e-12, sum(x * x for x in a) * sum(x * x for x in c)))
        wanted.append(1 - sum(x * y for x, y in zip(a, c, strict=True)) / norm)
    assert float(registry.build("finetune.list_losses", "pearson")(case)) == pytest.approx(mean(wanted), abs=1e-9)
