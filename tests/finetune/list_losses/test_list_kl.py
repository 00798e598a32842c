"""Parity with the formula written out, in float64."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, kl, mean, own, softmax, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        wanted.append(4 * kl(softmax({n: 3 * v / 2 for n, v in t.items()}), softmax({n: v / 2 for n, v in own(case, b).items()})))
    assert float(registry.build("finetune.list_losses", "list_kl:temperature=2.0,target_scale=3.0")(case)) == pytest.approx(
        mean(wanted), abs=1e-9
    )
