"""Parity with the formula written out: labels, sureness, order, and features of pairs."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.imitation import Imitation
from finetune.list_losses.pearson import Pearson
from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    own,
    score,
    target,
    there,
)


def sigmoid(value):
    return 1 / (1 + exp(-value))


@given(cases())
@settings(max_examples=15)
def test_labels_and_sureness(case):
    def term(b):
        places = [(c, n) for c in range(len(case.mask)) for n in there(case, c)]
        every = {at: score(case, b, *at) for at in places}
        label = log(sum(map(exp, every.values()))) - every[b, 0]
        wanted = target(case, b)
        sure = {
            n: (sigmoid(wanted[n]) if n == 0 else 1 - sigmoid(wanted[n]))
            * value
            for n, value in own(case, b).items()
        }
        hard = log(sum(map(exp, sure.values()))) - sure[0]
        return label + 0.5 * hard

    agrees("imitation:hard=0.5,rank=0", case, term)


@given(cases())
@settings(max_examples=10)
def test_order_and_features(case):
    count, width = case.mask.shape
    generator = torch.Generator().manual_seed(0)

    def drawn(size):
        shape = (count, width, size)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    full = replace(case, features=drawn(4), teacher_features=drawn(6))
    plain = float(Imitation(rank=0.0)(case))
    assert float(Imitation()(case)) == pytest.approx(
        plain + float(Pearson()(case)), abs=1e-9
    )
    places = [(b, n) for b in range(count) for n in there(case, b)]
    apart = [
        float(
            torch.cosine_similarity(
                full.features[one], full.features[two], dim=0
            )
            - torch.cosine_similarity(
                full.teacher_features[one], full.teacher_features[two], dim=0
            )
        )
        for one in places
        for two in places
    ]
    wanted = plain + 0.1 * sum(d * d for d in apart) / len(apart)
    found = float(Imitation(rank=0.0, feature=0.1)(full))
    assert found == pytest.approx(wanted, abs=1e-9)


@given(cases())
@settings(max_examples=10)
def test_hard_negatives_above_texts_of_others(case):
    count, width = case.mask.shape
    generator = torch.Generator().manual_seed(0)
    judged = torch.randn(
        (count, count, width), generator=generator, dtype=torch.float64
    )
    full = replace(case, teacher_scores=judged)

    def term(b):
        total = 0.0
        others = [
            (c, n) for c in range(count) if c != b for n in there(case, c)
        ]
        for h in there(case, b)[1:]:
            for c, n in others:
                sure = sigmoid(judged[b, b, h]) - sigmoid(judged[b, c, n])
                apart = score(case, b, b, h) - score(case, b, c, n)
                total -= log(sigmoid(apart)) * max(0.0, float(sure))
        return total

    wanted = sum(map(term, range(count))) / count
    found = float(Imitation(batch=0.1)(full)) - float(Imitation()(full))
    assert found == pytest.approx(0.1 * wanted, abs=1e-9)


@given(cases())
@settings(max_examples=1)
def test_features_that_are_missing_are_said(case):
    with pytest.raises(ValueError, match="--teacher-kind words"):
        Imitation(feature=0.1)(case)
