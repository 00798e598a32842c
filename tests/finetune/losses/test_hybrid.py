"""Matched tokens by divergence, others by rank: the formula on paper; spellings of the space match."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.hybrid import Hybrid, matched
from finetune.losses.jsd import Jsd
from tests.finetune.losses.brute import same
from tests.finetune.losses.test_uld import distance, sides

PAIRS = ((0, 3), (2, 0), (6, 4))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weight", [None, 0.8])
@given(st.integers(0, 10**6))
def test_it_is_the_formula(weight, beta, seed):
    student, teacher, *_ = sides(seed, 7, 5, other=6)
    ours, theirs = [a for a, _ in PAIRS], [b for _, b in PAIRS]
    share = 3 / 5 if weight is None else weight

    def each(p, q):
        one, two = p[ours], q[theirs]
        middle = beta * two + (1 - beta) * one
        if beta in (0, 1):
            known = (
                (two * (two / one).log()).sum()
                if beta == 0
                else (one * (one / two).log()).sum()
            )
        else:
            known = (
                beta * two * (two / middle).log()
                + (1 - beta) * one * (one / middle).log()
            ).sum()
        rest = distance(
            p[[n for n in range(7) if n not in ours]],
            q[[n for n in range(5) if n not in theirs]],
        )
        return share * known + (1 - share) * rest

    values = [
        each(student[b, t].softmax(-1), teacher[b, t].softmax(-1))
        for b in range(2)
        for t in range(6)
    ]
    same(
        Hybrid(pairs=PAIRS, beta=beta, weight=weight)(
            student, teacher, torch.ones(2, 6)
        ),
        torch.stack(values).mean(),
        student,
    )


def test_with_every_token_matched_it_is_the_divergence():
    student, teacher, *_ = sides(1, 7, 7, other=6)
    found = Hybrid(pairs=tuple((n, n) for n in range(7)))(
        student, teacher, torch.ones(2, 6)
    )
    same(found, Jsd()(student, teacher, torch.ones(2, 6)), student)


def test_pairs_are_found_once_each_and_wrong_ones_refused():
    assert matched(["\u0120a", "b", "b"], ["b", "\u2581a", " a"]) == (
        (0, 1),
        (1, 0),
    )
    with pytest.raises(ValueError, match="matched twice"):
        Hybrid(pairs=((0, 1), (0, 2)))
    with pytest.raises(ValueError, match="0 to 1"):
        Hybrid(beta=2)
