"""Parity with the formula written out, both ways, and with a teacher's vectors and cosines."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.additive_margin import AdditiveMargin
from tests.finetune.list_losses.brute import agrees, cases, score, there


@given(cases())
@settings(max_examples=15)
def test_the_right_pair_is_worth_less_both_ways(case):
    count = len(case.mask)

    def less(b, c, n):
        value = score(case, b, c, n)
        return value - 0.2 * case.scale if (b, 0) == (c, n) else value

    def term(b):
        texts = [less(b, c, n) for c in range(count) for n in there(case, c)]
        queries = [less(c, b, 0) for c in range(count)]
        right = less(b, b, 0)
        forwards = log(sum(map(exp, texts))) - right
        backwards = log(sum(map(exp, queries))) - right
        return (forwards + backwards) / 2

    agrees("additive_margin:margin=0.2", case, term)


@given(cases())
@settings(max_examples=10)
def test_a_teachers_vectors_and_cosines(case):
    plain = float(AdditiveMargin()(case))
    torch.manual_seed(0)
    loss = AdditiveMargin(feature=0.5).open(3, 5)
    loss.module.double()
    own = torch.cat([case.queries, case.documents[case.mask]])
    wanted = torch.cat(
        [case.teacher.queries, case.teacher.documents[case.mask]]
    )
    apart = own @ loss.module.weight.T - wanted
    assert float(loss(case)) == pytest.approx(
        plain + 0.5 * float((apart**2).mean()), abs=1e-9
    )
    squares = [
        (
            float(case.queries[b] @ case.documents[c, n])
            - float(case.teacher.queries[b] @ case.teacher.documents[c, n])
        )
        ** 2
        for b in range(len(case.mask))
        for c in range(len(case.mask))
        for n in there(case, c)
    ]
    found = float(AdditiveMargin(matrix=2.0)(case))
    mean = sum(squares) / len(squares)
    assert found == pytest.approx(plain + 2 * mean, abs=1e-9)


@given(cases())
@settings(max_examples=1)
def test_a_weight_of_a_teacher_wants_one(case):
    from dataclasses import replace

    assert AdditiveMargin().wants() == ()
    for loss in (AdditiveMargin(matrix=1.0), AdditiveMargin(feature=1.0)):
        assert loss.wants() == ("teacher",)
        with pytest.raises(ValueError, match="no teacher"):
            loss(replace(case, teacher=None))
