"""The learnt band is the formula on paper, a token at a time; its network learns by the soft band's gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.losses.learnt_band import Band, LearntBand
from tests.finetune.losses.brute import cases, same


class Ends(torch.nn.Module):
    """A band that begins and ends at the same shares for every token."""

    def __init__(self, first, last):
        super().__init__()
        self.ends = torch.nn.Parameter(torch.tensor([first, last]).double())

    def forward(self, teacher, _):
        first, last = self.ends.expand(len(teacher), 2).chunk(2, dim=-1)
        return first, last


def within(pt, label, first, last):
    """Tokens of a band: a walk down the teacher's ranking."""
    kept = {int(label)}
    behind = 0.0
    for token in pt.argsort(descending=True).tolist():
        before, behind = behind, behind + float(pt[token])
        if behind > first and before < last:
            kept.add(token)
    return sorted(kept)


def on_paper(case, first, last, heat):
    values = []
    for b, t in case["mask"].nonzero().tolist():
        ps = (case["student"][b, t] / heat).softmax(-1)
        pt = (case["teacher"][b, t] / heat).softmax(-1)
        kept = within(pt, case["labels"][b, t], first, last)
        ours, theirs = (p[kept] / p[kept].sum() for p in (ps, pt))
        values.append((theirs * (theirs / ours).log()).sum())
    return torch.stack(values).mean()


@pytest.mark.parametrize(
    ("first", "last", "heat"), [(0.0, 0.9, 1.0), (0.3, 0.8, 2.0)]
)
@given(cases())
def test_it_is_the_formula(first, last, heat, case):
    loss = LearntBand(temperature=heat)
    found = loss(
        case["student"],
        case["teacher"],
        case["mask"],
        labels=case["labels"],
        band=Ends(first, last),
    )
    same(found, on_paper(case, first, last, heat), case["student"])
    assert float(found.detach()) >= -1e-12


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_ends_move_as_a_soft_band_would_have_them(seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(
        2, 1, 1, 6, dtype=torch.float64, generator=generator
    )
    ends = Ends(0.2, 0.7)
    labels = torch.tensor([[2]])
    loss = LearntBand(softness=0.1)
    value = loss(student, teacher, torch.ones(1, 1), labels=labels, band=ends)
    (found,) = torch.autograd.grad(value, ends.ends)

    ps, pt = (side[0, 0].softmax(-1) for side in (student, teacher))
    kept = torch.zeros(6, dtype=torch.float64)
    kept[within(pt, 2, 0.2, 0.7)] = 1.0
    ours, theirs = (kept * ps).sum(), (kept * pt).sum()
    gap = (kept * pt * (pt / ps).log()).sum() / theirs
    # What the divergence gains by a little more of each token.
    pull = pt / theirs * ((pt / ps).log() - gap - 1) + ps / ours

    def soft(first, last):
        shares = torch.zeros(6, dtype=torch.float64)
        behind = 0.0
        for token in pt.argsort(descending=True).tolist():
            before, behind = behind, behind + float(pt[token])
            begun = 1 / (1 + math.exp(-(behind - first) / 0.1))
            shares[token] = begun / (1 + math.exp(-(last - before) / 0.1))
        shares[2] = 0.0  # the label is always there
        return float((pull * shares).sum())

    step = 1e-6
    slopes = [
        (soft(0.2 + step, 0.7) - soft(0.2 - step, 0.7)) / (2 * step),
        (soft(0.2, 0.7 + step) - soft(0.2, 0.7 - step)) / (2 * step),
    ]
    assert found.tolist() == pytest.approx(slopes, rel=1e-4, abs=1e-8)


@given(cases())
def test_a_network_keeps_the_least_share_in_every_band(case):
    band = Band(4, 0.6)
    torch.nn.init.normal_(band.ends.weight, std=30.0)
    rows = case["teacher"].reshape(-1, case["teacher"].shape[-1]).softmax(-1)
    first, last = band(rows, rows)
    assert (first >= 0).all()
    assert (last <= 1 + 1e-6).all()
    assert (last - first >= 0.6 - 1e-6).all()


def test_equal_sides_are_0_and_wrong_settings_are_refused():
    logits = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True)
    loss = LearntBand()
    named = {"labels": torch.full((2, 3), -100), "band": loss.network()}
    found = loss(logits, logits.detach(), torch.ones(2, 3), **named)
    assert float(found.detach()) == pytest.approx(0.0, abs=1e-12)
    assert torch.autograd.grad(found, logits)[0].abs().max() < 1e-12
    with pytest.raises(ValueError, match="needs band="):
        loss(logits, logits, torch.ones(2, 3), labels=named["labels"])
    for wrong in ({"least": 2}, {"softness": 0}, {"temperature": 0}):
        with pytest.raises(ValueError, match="use"):
            LearntBand(**wrong)


def test_short_floats_and_logits_of_minus_infinity_are_finite():
    student = torch.randn(1, 2, 5).to(torch.bfloat16)
    teacher = student.clone()
    student[..., 0] = teacher[..., 1] = -torch.inf
    student.requires_grad_()
    loss = LearntBand()
    named = {
        "labels": torch.zeros(1, 2, dtype=torch.long),
        "band": loss.network(),
    }
    found = loss(student, teacher, torch.ones(1, 2), **named)
    assert torch.isfinite(found)
    assert torch.isfinite(torch.autograd.grad(found, student)[0]).all()
