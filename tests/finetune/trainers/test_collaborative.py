"""Vectors of choices: both losses in float64 and by hand, and what they learn."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.trainers.collaborative import (
    TEMPERATURE,
    Factorisation,
    _batch_loss,
    _is_among,
    alignment,
    collaborative_vectors,
    preference,
)

# Items 0 to 3 are chosen by the one half of the users, 4 to 7 by the other.
HISTORIES = [
    [n for n in range(half, half + 4) if n != half + left]
    for half in (0, 4)
    for left in range(4)
] * 3


def normal(count, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, dtype=torch.float64, generator=generator)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_a_preference_is_the_formula(count, width, seed):
    users, chosen, others = (normal(count, width, seed + n) for n in range(3))
    found = preference(users, chosen, others)
    for row in range(count):
        better = float(users[row] @ chosen[row])
        worse = float(users[row] @ others[row])
        share = 1 / (1 + math.exp(worse - better))
        assert float(found[row]) == pytest.approx(-math.log(share))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_the_alignment_is_the_formula(count, width, seed):
    items, texts = normal(count, width, seed), normal(count, width, seed + 1)
    cosines = torch.cosine_similarity(items[:, None], texts[None], dim=-1)
    odds = (cosines / TEMPERATURE).exp()
    total = 0.0
    for row in range(count):
        own = odds[row, row]
        total -= float((own / odds[row].sum()).log())
        total -= float((own / odds[:, row].sum()).log())
    assert float(alignment(items, texts)) == pytest.approx(total / 2 / count)


def test_what_a_user_chose_too_is_no_other_item(monkeypatch):
    torch.manual_seed(0)
    model = Factorisation(1, 2, 3, 2)
    texts = torch.eye(2)
    batch = torch.tensor([0, 1])
    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor([1, 0]))
    # The user chose both items: nothing is left to learn but the alignment.
    loss = _batch_loss(model, batch, torch.tensor([0, 1]), texts, 0.0)
    assert float(loss.detach()) == 0
    # The user chose the first one alone.
    loss = _batch_loss(model, batch[:1], torch.tensor([0]), texts, 0.0)
    user, items = model.users.weight, model.items.weight
    wanted = preference(user, items[:1], items[1:])
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()))
    aligned = _batch_loss(model, batch[:1], torch.tensor([0]), texts, 2.0)
    # One item alone is its text's for certain.
    assert float(aligned.detach()) == pytest.approx(float(loss.detach()))


def test_numbers_are_found_among_rising_ones():
    rising = torch.tensor([2, 5, 9])
    found = _is_among(torch.tensor([0, 2, 5, 6, 9, 12]), rising)
    assert found.tolist() == [False, True, True, False, True, False]


def learnt(align):
    """Mean cosines of items of one half, of items of both, and of an item and one of its text."""
    torch.manual_seed(0)
    # Items n and n + 4 have the same text.
    texts = torch.eye(4).repeat(2, 1)
    vectors = collaborative_vectors(
        HISTORIES, texts, width=8, epochs=60, align=align
    )
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    cosines = unit @ unit.T
    inside = (cosines[:4, :4].sum() - 4) / 12
    twins = cosines[:4, 4:].diagonal().mean()
    return float(inside), float(cosines[:4, 4:].mean()), float(twins)


def test_items_that_are_chosen_together_come_together():
    inside, across, _ = learnt(0.0)
    assert inside > 0.8
    assert across < 0


def test_the_alignment_brings_items_of_one_text_together():
    alone = learnt(0.0)[2]
    aligned = learnt(1.0)[2]
    assert aligned > alone + 0.3
