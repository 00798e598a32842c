"""Preference of whole texts is the formula on paper, text by text; rewards of equal texts cancel."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.dpkd_texts import DpkdTexts
from tests.finetune.losses.brute import same
from tests.finetune.losses.test_contrastive import texts

BY = torch.tensor([True, False, True, False])


def on_paper(beta, normalise, reverse_kl):
    """The formula, a text and a token at a time."""

    def value(student, teacher, mask, labels):
        rewards = []
        divergences = []
        for row in range(4):
            places = mask[row].nonzero()[:, 0].tolist()
            reward = 0.0
            for place in places:
                q = student[row, place].log_softmax(-1)
                p = teacher[row, place].log_softmax(-1)
                label = int(labels[row, place])
                reward = reward + q[label] - p[label]
                if not BY[row]:
                    divergences.append((q.exp() * (q - p)).sum())
            rewards.append(reward / (len(places) if normalise else 1))
        pairs = [(rewards[0], rewards[1]), (rewards[2], rewards[3])]
        lost = [
            torch.log1p(torch.exp(-beta * (theirs - own)))
            for theirs, own in pairs
        ]
        kl = torch.stack(divergences).mean()
        return torch.stack(lost).mean() + reverse_kl * kl

    return value


@pytest.mark.parametrize("normalise", [True, False])
@given(st.integers(0, 10**6), st.sampled_from([0.1, 2.0]), st.floats(0, 2))
def test_it_is_the_formula(normalise, seed, beta, reverse_kl):
    student, teacher, mask, labels = texts(seed)
    loss = DpkdTexts(beta=beta, normalise=normalise, reverse_kl=reverse_kl)
    wanted = on_paper(beta, normalise, reverse_kl)
    same(
        loss(student, teacher, mask, labels=labels, by_teacher=BY),
        wanted(student, teacher, mask, labels),
        student,
    )


def test_equal_rewards_are_ln_2_and_texts_alone_are_refused():
    student, _, mask, labels = texts(3)
    named = {"labels": labels, "by_teacher": BY}
    equal = DpkdTexts()(student, student.detach(), mask, **named)
    assert float(equal.detach()) == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="a text of each to every prompt"):
        DpkdTexts()(student, student, mask, labels=labels, by_teacher=BY | True)
    with pytest.raises(ValueError, match="above 0"):
        DpkdTexts(beta=0)
