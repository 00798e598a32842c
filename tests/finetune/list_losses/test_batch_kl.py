"""Parity with the formula written out, over every text of the batch."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given, settings

from finetune.list_losses.batch_kl import BatchKl
from tests.finetune.list_losses.brute import (
    agrees,
    cases,
    kl,
    score,
    softmax,
    there,
)


def every(case):
    """Places of all texts of the batch."""
    return [(c, n) for c in range(len(case.mask)) for n in there(case, c)]


@given(cases())
@settings(max_examples=15)
def test_it_is_the_divergence_from_the_teachers_cosines(case):
    def term(b):
        wanted = softmax(
            {at: 4 * score(case.teacher, b, *at) for at in every(case)}
        )
        said = softmax({at: score(case, b, *at) for at in every(case)})
        return kl(wanted, said)

    agrees("batch_kl", case, term)


@given(cases())
@settings(max_examples=15)
def test_scores_of_a_teacher_of_another_kind_and_labels(case):
    count, width = case.mask.shape
    scores = torch.arange(count * count * width).double() % 7
    scored = replace(
        case, teacher_scores=scores.reshape(count, count, width), teacher=None
    )

    def term(b):
        wanted = softmax(
            {at: float(scored.teacher_scores[b][at]) / 2 for at in every(case)}
        )
        values = {at: score(case, b, *at) for at in every(case)}
        label = log(sum(map(exp, values.values()))) - values[b, 0]
        return kl(wanted, softmax(values)) + 0.1 * label

    agrees("batch_kl:teacher_temperature=2,label=0.1", scored, term)


def test_two_texts_by_hand():
    case = replace(
        _two(), teacher_scores=torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]]])
    )
    # The teacher finds both texts alike; the student has e : 1, so the divergence is
    # log((e + 1) / 2) - 1 / 2 for each query.
    found = BatchKl()(case)
    assert float(found) == pytest.approx(log((exp(1) + 1) / 2) - 0.5, abs=1e-6)


def test_a_twin_of_the_answer_plays_no_part():
    case = replace(
        _two(),
        keys=torch.tensor([[5], [5]]),
        teacher_scores=torch.tensor([[[0.0], [9.0]], [[9.0], [0.0]]]),
    )
    assert float(BatchKl()(case)) == 0.0


def _two():
    from finetune.list_losses.base import Lists

    return Lists(
        queries=torch.eye(2),
        documents=torch.eye(2)[:, None],
        mask=torch.ones(2, 1, dtype=torch.bool),
        scale=1.0,
    )
