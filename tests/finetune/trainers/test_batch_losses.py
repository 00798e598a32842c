"""What a trainer makes of a loss tile by tile is what the loss makes of whole logits: values and gradients."""

from __future__ import annotations

import pytest
import torch

from finetune.kernels.features import Features
from finetune.kernels.heads import Head
from finetune.losses.contrastive import Contrastive
from finetune.losses.distilbert import Distilbert
from finetune.losses.minillm import Minillm
from finetune.losses.multi_exit import MultiExit
from finetune.losses.sinkhorn import Sinkhorn
from finetune.trainers.batch_losses import (
    Batch,
    of_exits,
    of_logits,
    of_pairs,
    of_policy,
)

SIZE = 7


def batch_of(rows=4, length=5, width=6, parts=1, divisor=None):
    """A batch, the leaves that learn, and both models' whole logits."""
    generator = torch.Generator().manual_seed(rows)

    def drawn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    hidden = drawn(rows, length, width).requires_grad_()
    weight = drawn(SIZE, width).requires_grad_()
    teacher = drawn(rows, length, SIZE)
    labels = torch.randint(0, SIZE, (rows, length), generator=generator)
    labels[torch.rand(rows, length, generator=generator) < 0.3] = -100
    labels[:, 0] = 1
    flat = teacher.reshape(-1, SIZE)
    states = drawn(rows, length + 1, width)
    batch = Batch(
        hidden=hidden,
        head=Head(weight=weight),
        labels=labels,
        says=lambda places: flat[places].clone(),
        ours=Features(
            states=(states, torch.cat([hidden, hidden[:, :1]], dim=1))
        ),
        theirs=Features(states=(states, states)),
        trust=None,
        divisor=divisor,
        parts=parts,
    )
    return batch, (hidden, weight), hidden @ weight.T, teacher


# Log-probabilities of labels are kept in fp32.
def agree(found, wanted, leaves):
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), rel=1e-6, abs=1e-6
    )
    have, want = (
        torch.autograd.grad(x, leaves, retain_graph=True)
        for x in (found, wanted)
    )
    for one, two in zip(have, want, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


BY = torch.tensor([True, True, False, False])


@pytest.mark.parametrize("curriculum", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_texts_of_two_authors(curriculum, parts):
    batch, leaves, student, teacher = batch_of(parts=parts)
    loss = Contrastive(alpha=0.3, beta=0.7, curriculum=curriculum)
    wanted = loss(
        student,
        teacher,
        batch.mask,
        labels=batch.labels,
        by_teacher=BY,
        denominator=2 * parts,
    )
    agree(of_pairs(loss, batch, BY), wanted, leaves)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("divisor", [None, 31.0])
@pytest.mark.parametrize("single_step", [0.0, 0.5])
def test_texts_that_the_student_wrote(share, divisor, single_step):
    batch, leaves, student, teacher = batch_of(divisor=divisor)
    loss = Minillm(single_step=single_step)
    ids = batch.labels.clamp(min=0)[..., None]
    one, two = (
        x.detach().log_softmax(-1).gather(-1, ids)[..., 0]
        for x in (student, teacher)
    )
    mixture = (
        (share * two.exp() + (1 - share) * one.exp()).log() if share else None
    )
    wanted = loss(
        student,
        teacher,
        batch.mask,
        labels=batch.labels,
        denominator=divisor,
        mixed_logs=mixture,
    )
    agree(of_policy(loss, batch, share), wanted, leaves)


@pytest.mark.parametrize("teacher", ["weighted", "deepest", "shallowest"])
def test_exits(teacher):
    batch, leaves, student, _ = batch_of()
    low = batch.hidden.detach() * 0.5 + 1
    loss = MultiExit(teacher=teacher, share=0.3, temperature=2.0)
    wanted = loss(
        [low @ batch.head.weight.T, student],
        None,
        batch.mask,
        labels=batch.labels,
    )
    agree(of_exits(loss, batch, [low, batch.hidden]), wanted, leaves)


def test_losses_of_whole_logits():
    batch, leaves, student, teacher = batch_of(parts=2)
    sinkhorn = Sinkhorn(scale=1.0)
    found = of_logits(sinkhorn, batch)
    # It relates the tokens of a batch: of two batches each counts half.
    agree(found, sinkhorn(student, teacher, batch.mask) / 2, leaves)
    triple = Distilbert()
    wanted = triple(
        student,
        teacher,
        batch.mask,
        labels=batch.labels,
        student_states=batch.hidden,
        teacher_states=batch.theirs.states[-1][:, :-1],
    )
    agree(of_logits(triple, batch), wanted, leaves)
