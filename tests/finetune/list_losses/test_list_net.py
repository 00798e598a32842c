"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, own, softmax, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        said, share = softmax(own(case, b)), softmax({n: v / 0.5 for n, v in t.items()})
        wanted.append(-sum(share[n] * log(said[n]) for n in t))
    assert float(registry.build("finetune.list_losses", "list_net:target_temperature=0.5")(case)) == pytest.approx(mean(wanted), abs=1e-9)
