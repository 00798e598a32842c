"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.base import Lists
from finetune.list_losses.pearson import Pearson
from tests.finetune.list_losses.brute import agrees, cases, mean, own, target


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        if len({*t.values()}) < 2:
            return None
        s = own(case, b)
        a, c = (
            [s[n] - mean(s.values()) for n in s],
            [t[n] - mean(t.values()) for n in s],
        )
        norm = sqrt(max(1e-12, sum(x * x for x in a) * sum(x * x for x in c)))
        return 1 - sum(x * y for x, y in zip(a, c, strict=True)) / norm

    agrees("pearson", case, term)


def lists(scores, targets):
    """Lists of these scores: the query is 1, each text its score."""
    own = torch.tensor(scores, dtype=torch.float64)
    return Lists(
        queries=torch.ones(len(own), 1, dtype=torch.float64),
        documents=own[..., None].requires_grad_(),
        mask=torch.ones_like(own, dtype=torch.bool),
        targets=torch.tensor(targets, dtype=torch.float64),
        scale=1.0,
    )


def test_equal_targets_in_a_list_count_as_they_are():
    # Means 2 and 1/3: (1 * 2/3 + 0 + 1 * 1/3) / sqrt(2 * 2/3).
    found = Pearson()(lists([[3.0, 2.0, 1.0]], [[1.0, 0.0, 0.0]]))
    assert float(found) == pytest.approx(1 - 1 / sqrt(4 / 3))


def test_a_list_of_equal_targets_is_no_part_of_the_mean():
    both = lists([[3.0, 2.0], [0.4, 0.1]], [[1.0, 0.0], [0.7, 0.7]])
    alone = lists([[3.0, 2.0]], [[1.0, 0.0]])
    assert float(Pearson()(both)) == pytest.approx(float(Pearson()(alone)))
    none = lists([[0.4, 0.1]], [[0.7, 0.7]])
    loss = Pearson()(none)
    assert float(loss) == 0.0
    loss.backward()
    assert not none.documents.grad.any()
    assert Pearson().leaves_out([0.7, 0.7])
    assert not Pearson().leaves_out([0.7, 0.6])
