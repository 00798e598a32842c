"""Parity with the formula written out, and a queue that keeps the newest."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.teacher_queue import TeacherQueue
from tests.finetune.list_losses.brute import cases, mean


@given(cases(), cases())
@settings(max_examples=15)
def test_it_is_the_formula_over_batch_and_queue(before, case):
    torch.manual_seed(1)
    loss = TeacherQueue(size=3, regression=0.5).open(3, 5)
    loss.module.double()
    loss(before)
    queue = loss.queue.clone()
    assert len(queue) == 3
    assert torch.equal(queue[0], before.teacher.queries[0])
    texts = [*case.queries, *case.documents[case.mask]]
    wanted = [*case.teacher.queries, *case.teacher.documents[case.mask]]
    rows = []
    for place, x in enumerate(texts):
        mapped = loss.module.map(x).detach()
        unit = mapped / mapped.norm()
        scores = [
            2.6592,
            *[
                float(unit @ t) * exp(2.6592)
                for n, t in enumerate([*wanted, *queue])
                if n == place or (wanted[place] @ t) < 1 - 1e-6
            ],
        ]
        itself = float(unit @ wanted[place]) * exp(2.6592)
        rows.append(
            log(sum(map(exp, scores[1:])))
            - itself
            + 0.5 * float((mapped - wanted[place]).square().sum())
        )
    assert float(loss(case).detach()) == pytest.approx(mean(rows), abs=1e-5)


@given(cases())
@settings(max_examples=5)
def test_the_map_and_the_scale_learn(case):
    loss = TeacherQueue(size=8).open(3, 5)
    loss.module.double()
    loss(replace(case)).backward()
    assert loss.module.map.weight.grad.abs().sum() > 0
    assert loss.module.log_scale.grad is not None
