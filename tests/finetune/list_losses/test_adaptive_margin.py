"""Parity with the formula written out, and the two traps of the released code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.adaptive_margin import AdaptiveMargin
from tests.finetune.list_losses.brute import cases, mean, there


@pytest.mark.parametrize("over", ["own", "batch"])
@pytest.mark.parametrize("target", ["similar", "unlike", "constant"])
@given(case=cases())
@settings(max_examples=10)
def test_it_is_the_formula(over, target, case):
    wanted = []
    for b in range(len(case.mask)):
        positive, terms = case.documents[b, 0], []
        pairs = [
            (c, n)
            for c in range(len(case.mask))
            for n in there(case, c)
            if (c, n) != (b, 0) and (over == "batch" or c == b)
        ]
        for c, n in pairs:
            alike = float(positive @ case.documents[c, n])
            goal = {
                "similar": 0.5 + alike / 2,
                "unlike": 0.5 - alike / 2,
                "constant": 0.3,
            }[target]
            gap = float(
                case.queries[b] @ positive
                - case.queries[b] @ case.documents[c, n]
            )
            terms.append((gap - goal) ** 2)
        if terms:
            wanted.append(mean(terms))
    assert float(
        AdaptiveMargin(over=over, target=target)(case)
    ) == pytest.approx(mean(wanted), abs=1e-9)


@given(case=cases())
@settings(max_examples=5)
def test_the_target_is_out_of_the_gradient_unless_asked(case):
    found = {}
    for detach in (True, False):
        documents = case.documents.clone().requires_grad_()
        AdaptiveMargin(detach=detach)(
            replace(case, documents=documents)
        ).backward()
        found[detach] = documents.grad
    assert not torch.allclose(found[True], found[False])
