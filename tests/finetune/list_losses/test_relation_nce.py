"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from finetune.list_losses.relation_nce import RelationNce
from tests.finetune.list_losses.brute import cases, mean, there


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    count = len(case.mask)
    members = [(b, case.queries[b]) for b in range(count)] + [
        (b, case.documents[b, 0]) for b in range(count)
    ]
    rows = []
    for i, (b, x) in enumerate(members):
        own = [x @ case.documents[b, n] for n in there(case, b) if n]
        against = [
            x @ y for c, y in members if case.groups[c] != case.groups[b]
        ] + own
        rest = sum(exp(case.scale * float(v)) for v in against)
        alike = [
            exp(case.scale * float(x @ y))
            for j, (c, y) in enumerate(members)
            if case.groups[c] == case.groups[b] and j != i
        ]
        rows.append(mean(-log(v / (v + rest)) for v in alike))
    assert float(RelationNce()(case)) == pytest.approx(mean(rows), abs=1e-9)
