"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from synth.core import registry
from tests.finetune.list_losses.brute import (
    cases,
    kl,
    mean,
    order,
    others,
    own,
    softmax,
    target,
)


def sigmoid(x):
    return 1 / (1 + exp(-x))


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    wanted = []
    for b in range(len(case.mask)):
        t = target(case, b)
        s, ranked = own(case, b), order(t)
        pairs = []
        for i, j in (
            (i, j) for k, i in enumerate(ranked) for j in ranked[k + 1 : k + 3]
        ):
            p, q = sigmoid(t[i] - t[j]), sigmoid(s[i] - s[j])
            pairs.append(p * log(p / q) + (1 - p) * log((1 - p) / (1 - q)))
        every = log(sum(map(exp, [*s.values(), *others(case, b)]))) - s[0]
        wanted.append((kl(softmax(t), softmax(s)) + 0.5 * every, mean(pairs)))
    assert float(
        registry.build(
            "finetune.list_losses", "pair_kl:alpha=3.0,beta=0.5,reach=2"
        )(case)
    ) == pytest.approx(
        mean(a for a, _ in wanted) + 3 * mean(p for _, p in wanted), abs=1e-9
    )
