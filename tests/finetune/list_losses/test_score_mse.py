"""Parity with the formula written out, and scores that are no cosines."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.score_mse import ScoreMse
from tests.finetune.list_losses.brute import agrees, cases, mean, own, target


def term(scores, wanted, share):
    each = []
    for n, value in scores.items():
        chance = 1 / (1 + exp(-value))
        label = -log(chance) if n == 0 else -log(1 - chance)
        each.append((1 - share) * label + share * (value - wanted[n]) ** 2)
    return mean(each)


@given(cases())
@settings(max_examples=15)
def test_it_is_the_formula(case):
    agrees(
        "score_mse:share=0.3",
        case,
        lambda b: term(own(case, b), target(case, b), 0.3),
    )


@given(cases())
@settings(max_examples=5)
def test_scores_of_a_network_take_the_place_of_cosines(case):
    count, width = case.mask.shape
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(
        count, count, width, generator=generator, dtype=torch.float64
    )
    scored = replace(case, scores=scores)
    wanted = mean(
        term(
            {n: case.scale * float(scores[b, b, n]) for n in own(case, b)},
            target(case, b),
            0.5,
        )
        for b in range(count)
    )
    assert float(ScoreMse()(scored)) == pytest.approx(wanted, abs=1e-9)
    every = scored.all()
    assert float(every[0, 1, 0]) == pytest.approx(
        case.scale * float(scores[0, 1, 0])
    )
