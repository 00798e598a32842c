"""Parity with the formula written out, in float64."""

from __future__ import annotations

from dataclasses import replace
from math import log

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
        s, old = own(case, b), own(replace(case.teacher, targets=case.targets), b)
        said = softmax({n: v / 4 for n, v in s.items()})
        label = -log(softmax(s)[0])
        terms = (kl(softmax({n: v / 4 for n, v in part.items()}), said) for part in (t, old))
        learned, kept = terms
        wanted.append(0.1 * label + 16 * (0.9 * learned + kept))
    assert float(registry.build("finetune.list_losses", "without_forgetting")(case)) == pytest.approx(mean(wanted), abs=1e-9)
