"""Parity with the formula written out, in float64."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings

from finetune.list_losses.rank_net import RankNet
from tests import tiny
from tests.conftest import write
from tests.finetune.list_losses.brute import agrees, cases, mean, own, target
from tests.finetune.list_losses.test_pearson import lists
from tests.finetune.recipes.test_retriever import finetune


def softplus(x):
    return log(1 + exp(x))


@given(cases())
@settings(max_examples=30)
def test_it_is_the_formula(case):
    def term(b):
        t = target(case, b)
        gaps = [
            softplus(own(case, b)[j] - own(case, b)[i])
            for i in t
            for j in t
            if t[i] > t[j]
        ]
        return mean(gaps) if gaps else None

    agrees("rank_net", case, term)


@given(cases())
@settings(max_examples=30)
def test_equal_targets_are_wanted_in_either_order_alike(case):
    """Burges et al. 2005: C = -P o + log(1 + e^o), P being 1/2 where targets are equal."""

    def cost(p, o):
        return -p * o + log(1 + exp(o))

    def term(b):
        t, s = target(case, b), own(case, b)
        pairs = [(i, j) for i in t for j in t if i < j]
        costs = [
            cost((1 + (t[i] > t[j]) - (t[i] < t[j])) / 2, s[i] - s[j])
            for i, j in pairs
        ]
        return mean(costs) if costs else None

    agrees("rank_net:equal=true", case, term)


def test_equal_scores_are_best_for_equal_targets():
    apart, alike = (lists([[first, 0.0]], [[1.0, 1.0]]) for first in (2.0, 0.0))
    loss = RankNet(equal=True)
    assert float(loss(alike)) == pytest.approx(log(2))
    found = loss(apart)
    assert float(found) == pytest.approx((softplus(2.0) + softplus(-2.0)) / 2)
    found.backward()
    assert apart.documents.grad[0, 0] > 0 > apart.documents.grad[0, 1]
    # Without it such a list is no part of the mean.
    assert float(RankNet()(apart)) == 0.0
    assert RankNet().leaves_out([1.0, 1.0])
    assert not loss.leaves_out([1.0, 1.0])


@pytest.mark.parametrize("loss", ["rank_net", "pearson"])
def test_lists_of_equal_scores_are_counted(tmp_path, loss):
    row = {"query": "a red pen", "documents": ["red pen", "blue pen"]}
    same = {**row, "scores": [0.5, 0.5]}
    rows = [same, {**row, "scores": [0.9, 0.1]}, same]
    data = write(tmp_path / "rows.jsonl", rows)
    words = (
        *("retriever", "--data", data, "--loss", loss),
        *("--model", tiny.encoder("mlm"), "--output", tmp_path / "out"),
        *("--max-steps", "1"),
    )
    code, said = finetune(*words)
    assert code == 0, said
    assert f"2 of 3 lists have equal scores, of which {loss}" in said
    write(data, [same, same])
    code, said = finetune(*words)
    assert code == 2, said
    assert "2 lists, each of equal scores" in said
