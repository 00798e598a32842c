"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from synth import registry
from tests.finetune.list_losses.brute import cases, mean, own, score


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        first = [score(case, b, c, 0) for c in range(len(case.mask))]
        hard = [v for n, v in own(case, b).items() if n]
        queries = [case.scale * float(case.queries[b] @ case.queries[c]) for c in range(len(case.mask)) if c != b]
        wanted.append(log(sum(map(exp, [*first, *hard, *queries]))) - first[b])
    assert float(registry.build("finetune.list_losses", "same_tower")(case)) == pytest.approx(mean(wanted), abs=1e-9)
