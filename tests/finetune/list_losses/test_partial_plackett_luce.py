"""Parity with the formula written out, in float64."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, luce, mean, order, others, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        wanted.append(luce(own(case, b), order(t), others(case, b)))
    assert float(registry.build("finetune.list_losses", "partial_plackett_luce")(case)) == pytest.approx(mean(wanted), abs=1e-9)
