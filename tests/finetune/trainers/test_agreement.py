"""Agreement with a teacher is what counting over whole probabilities gives, of teachers who say all and of those who name a few tokens."""

from __future__ import annotations

import math

import pytest
import torch

from finetune.kernels.heads import Head
from finetune.losses.base_parts import Sparse
from finetune.losses.reverse_kl import ReverseKl
from finetune.trainers.agreement import agreement

K = 4


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 5, 8, generator=generator)
    weight = torch.randn(30, 8, generator=generator)
    teacher = torch.randn(10, 30, generator=generator)
    labels = torch.randint(0, 30, (2, 5), generator=generator)
    labels[0, :2] = -100
    return hidden, Head(weight=weight), teacher, labels


def by_counting(case, named=None):
    hidden, head, teacher, labels = case
    shares, gaps = [], []
    for place, token in enumerate(labels.reshape(-1).tolist()):
        if token < 0:
            continue
        ls = (hidden.reshape(-1, 8)[place] @ head.weight.T).log_softmax(-1)
        lt = teacher[place].log_softmax(-1)
        known = set(range(30)) if named is None else named[place]
        order = [n for n in lt.argsort(descending=True).tolist() if n in known]
        both = set(ls.topk(K).indices.tolist()) & set(order[:K])
        shares.append(len(both) / K)
        if token in known:
            gaps.append(float(ls[token] - lt[token]))
    mean = sum(gaps) / len(gaps) if gaps else math.nan
    return sum(shares) / len(shares), mean


def test_it_is_what_counting_gives(case):
    hidden, head, teacher, labels = case
    found = agreement(hidden, head, lambda at: teacher[at].clone(), labels, K)
    assert found == pytest.approx(by_counting(case), rel=1e-5)
    same = agreement(
        hidden, head, lambda at: head.logits(hidden.reshape(-1, 8)[at]), labels
    )
    assert same == pytest.approx((1.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_of_a_teacher_known_in_part_only_what_it_names_counts(case, count):
    hidden, head, teacher, labels = case
    logs = teacher.log_softmax(-1)
    best = logs.topk(count, dim=-1)
    filled = torch.cat([best.values, torch.full((10, 1), -torch.inf)], dim=1)
    # An id that fills up, and is not known.
    spare = logs.argsort(dim=-1)[:, :1]
    ids = torch.cat([best.indices, spare], dim=1)
    say = lambda at: Sparse(ids[at], filled[at])  # noqa: E731
    found = agreement(hidden, head, say, labels, K)
    named = [set(row.tolist()) for row in best.indices]
    wanted = by_counting(case, named)
    assert found == pytest.approx(wanted, rel=1e-5, nan_ok=True)


def test_a_batch_without_texts_has_none(case):
    hidden, head, teacher, labels = case
    nothing = torch.full_like(labels, -100)
    assert agreement(hidden, head, lambda at: teacher[at], nothing) is None


def test_the_reverse_kl_is_the_mean_of_its_estimate_by_single_tokens():
    """Thinking Machines' recipe rewards each sampled token with lt - ls; over all tokens that is this loss's gradient."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(1, 3, 12, generator=generator, dtype=torch.float64)
    teacher = torch.randn(1, 3, 12, generator=generator, dtype=torch.float64)
    leaf = logits.clone().requires_grad_()
    ls, lt = leaf.log_softmax(-1), teacher.log_softmax(-1)
    reward = (lt - ls).detach()
    surrogate = -(ls.exp().detach() * reward * ls).sum(-1).mean()
    (wanted,) = torch.autograd.grad(surrogate, leaf)
    other = logits.clone().requires_grad_()
    loss = ReverseKl()(other, teacher, torch.ones(1, 3, dtype=torch.bool))
    (found,) = torch.autograd.grad(loss, other)
    assert torch.allclose(found, wanted, atol=1e-12)
