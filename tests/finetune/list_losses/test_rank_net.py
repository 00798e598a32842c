"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, own, target


def softplus(x):
    return log(1 + exp(x))


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        gaps = [softplus(own(case, b)[j] - own(case, b)[i]) for i in t for j in t if t[i] > t[j]]
        if gaps:
            wanted.append(mean(gaps))
    assert float(registry.build("finetune.list_losses", "rank_net")(case)) == pytest.approx(mean(wanted), abs=1e-9)
