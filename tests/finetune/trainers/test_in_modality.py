"""Two vectors of an item in one: the likenesses that are kept, in float64 and after learning."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.trainers.collaborative import TEMPERATURE
from finetune.trainers.in_modality import fused_vectors, kept_likeness


def normal(count, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, dtype=torch.float64, generator=generator)


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_divergence_over_the_other_items(count, width, seed):
    fused, teacher = normal(count, width, seed), normal(count, 3, seed + 1)
    total = 0.0
    for row in range(count):
        others = [n for n in range(count) if n != row]
        shares = []
        for side in (teacher, fused):
            cosines = torch.cosine_similarity(
                side[row][None], side[others], dim=-1
            )
            odds = (cosines / TEMPERATURE).exp()
            shares.append(odds / odds.sum())
        known, said = shares
        total += float((known * (known / said).log()).sum())
    found = float(kept_likeness(fused, teacher))
    assert found == pytest.approx(total / count, rel=1e-6, abs=1e-9)


def test_equal_likenesses_cost_nothing_whatever_the_length():
    teacher = normal(5, 3, 0)
    turned = torch.cat([-2 * teacher, torch.zeros(5, 1)], dim=1)
    assert float(kept_likeness(turned, teacher)) == pytest.approx(0, abs=1e-9)


def test_one_item_alone_has_no_likeness():
    one = torch.ones(1, 2, requires_grad=True)
    loss = kept_likeness(one, torch.ones(1, 3))
    loss.backward()
    assert float(loss.detach()) == 0


def fused(semantic):
    """How far a fused vector departs from either side's likenesses, in nats."""
    torch.manual_seed(0)
    items, texts = torch.randn(30, 6), torch.randn(30, 6)
    made = fused_vectors(items, texts, width=12, epochs=200, semantic=semantic)
    assert made.norm(dim=-1).tolist() == pytest.approx([1.0] * 30)
    return float(kept_likeness(made, items)), float(kept_likeness(made, texts))


def test_both_are_kept_by_their_weights():
    by_items, by_texts = fused(0.0)
    assert by_items < 0.1 < by_texts
    both_items, both_texts = fused(1.0)
    assert both_items == pytest.approx(both_texts, rel=0.5)
    assert both_texts < by_texts / 2
    # The texts outweigh the choices where they are told to.
    assert fused(10.0)[1] < both_texts
