"""Parity with the formula written out: distributions of layers, their weights, and both directions."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.lead import Lead
from tests.finetune.list_losses.brute import (
    cases,
    kl,
    mean,
    score,
    softmax,
    there,
)


def places(case):
    return [(c, n) for c in range(len(case.mask)) for n in there(case, c)]


def by_layer(table, case, b):
    """Scores of query b, by place."""
    return {at: float(table[b][at]) for at in places(case)}


def surprise(scores, b):
    return log(sum(map(exp, scores.values()))) - scores[b, 0]


def written_out(case, temperature, warmth):
    count = range(len(case.mask))
    last = [{at: score(case, b, *at) for at in places(case)} for b in count]
    ours = [last] + [
        [by_layer(table, case, b) for b in count] for table in case.layers
    ]
    theirs = [
        [by_layer(table, case, b) for b in count]
        for table in case.teacher_layers
    ]
    losses = [
        mean(surprise(layer[b], b) for b in count) for layer in theirs[1:]
    ]
    weights = [
        1.0,
        *softmax({n: -x / warmth for n, x in enumerate(losses)}).values(),
    ]

    def soft(scores):
        return softmax({at: x / temperature for at, x in scores.items()})

    label = mean(surprise(last[b], b) for b in count)
    down = [
        mean(kl(soft(t[b]), softmax(s[b])) for b in count)
        for t, s in zip(theirs, ours, strict=True)
    ]
    up = [
        mean(kl(softmax(s[b]), softmax(t[b])) for b in count)
        for t, s in zip(theirs, ours, strict=True)
    ]
    own = mean(surprise(theirs[0][b], b) for b in count)
    alone = label + sum(w * x for w, x in zip(weights, down, strict=True))
    both = alone + own + sum(w * x for w, x in zip(weights, up, strict=True))
    return alone, both


@given(cases())
@settings(max_examples=15)
def test_layers_teach_layers_by_how_well_the_teacher_finds(case):
    alone, both = written_out(case, temperature=2.0, warmth=3.0)
    told = {"teacher_temperature": 2.0, "layer_temperature": 3.0}
    assert float(Lead(**told)(case)) == pytest.approx(alone, abs=1e-9)
    found = float(Lead(together=True, **told)(case))
    assert found == pytest.approx(both, abs=1e-9)


@given(cases())
@settings(max_examples=3)
def test_the_teacher_is_moved_only_where_it_learns(case):
    for together in (False, True):
        case.teacher_layers.requires_grad_()
        loss = Lead(together=together)(case)
        (moved,) = torch.autograd.grad(
            loss + 0 * case.teacher_layers.sum(), case.teacher_layers
        )
        assert bool(moved.abs().sum() > 0) is together


@given(cases())
@settings(max_examples=3)
def test_no_layer_below_the_last_leaves_the_last(case):
    flat = replace(
        case, layers=case.layers[:0], teacher_layers=case.teacher_layers[:1]
    )
    assert torch.isfinite(Lead()(flat))
