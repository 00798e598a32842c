"""Parity with the formula written out: both texts go where the teacher puts the first."""

from __future__ import annotations

import torch
from hypothesis import given, settings

from finetune.list_losses.translation_mse import TranslationMse
from tests.finetune.list_losses.brute import cases


@given(cases())
@settings(max_examples=15)
def test_query_and_translation_are_held_against_the_query(case):
    torch.manual_seed(0)
    loss = TranslationMse().open(3, 5)
    loss.module.double()
    total = 0.0
    for b in range(len(case.mask)):
        wanted = case.teacher.queries[b]
        for own in (case.queries[b], case.documents[b, 0]):
            apart = loss.module.weight @ own - wanted
            total += float((apart**2).mean()) / 2
    mean = torch.tensor(total / len(case.mask), dtype=torch.float64)
    assert torch.allclose(loss(case).detach(), mean)


def test_vectors_of_the_same_width_are_compared_as_they_are():
    loss = TranslationMse().open(4, 4)
    assert not list(loss.module.parameters())
