"""What rows held out show is what whole probabilities give, of teachers who say all and of those who name a few tokens."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from finetune.losses.base_parts import Sparse
from finetune.trainers.looks import Means, look
from tests.finetune.trainers.test_batch_losses import SIZE, batch_of


def learnt(batch, logits, teacher):
    """Log-probabilities and labels of what is learnt."""
    mask = batch.mask
    logs = (logits.log_softmax(-1)[mask], teacher.log_softmax(-1)[mask])
    return (*logs, batch.labels[mask])


def close(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(float(value), rel=1e-5), name


@torch.no_grad()
def test_of_a_teacher_who_says_all():
    batch, _, logits, teacher = batch_of()
    ls, lt, labels = learnt(batch, logits, teacher)
    close(
        look(batch),
        {
            "cross_entropy": -ls.gather(1, labels[:, None]).mean(),
            "kl": (lt.exp() * (lt - ls)).sum(-1).mean(),
            "entropy": -(ls.exp() * ls).sum(-1).mean(),
            "teacher_entropy": -(lt.exp() * lt).sum(-1).mean(),
            "agreement": (ls.argmax(-1) == lt.argmax(-1)).double().mean(),
        },
    )


@torch.no_grad()
def test_of_a_teacher_who_names_a_few_the_others_are_one():
    batch, _, logits, teacher = batch_of()
    flat = teacher.reshape(-1, SIZE).log_softmax(-1)
    best = flat.topk(3, dim=-1)
    part = replace(
        batch, says=lambda at: Sparse(best.indices[at], best.values[at])
    )
    ls, lt, _ = learnt(batch, logits, teacher)
    named = lt.topk(3, dim=-1)
    tails = [1 - logs.exp().sum(-1) for logs in
             (named.values, ls.gather(1, named.indices))]  # fmt: skip
    heads = named.values.exp() * (named.values - ls.gather(1, named.indices))
    tail = tails[0] * (tails[0] / tails[1]).log()
    found = look(part)
    assert found["kl"] == pytest.approx(
        float((heads.sum(-1) + tail).mean()), rel=1e-5
    )
    assert found["agreement"] == look(batch)["agreement"]
    assert "teacher_entropy" not in found


@torch.no_grad()
def test_without_a_teacher_and_without_tokens():
    batch = batch_of()[0]
    alone = look(replace(batch, says=None))
    whole = look(batch)
    close(alone, {name: whole[name] for name in ("cross_entropy", "entropy")})
    assert (
        look(replace(batch, labels=torch.full_like(batch.labels, -100))) == {}
    )


def test_means_are_over_tokens_whatever_the_batches():
    trainer = SimpleNamespace(
        args=SimpleNamespace(device="cpu"),
        accelerator=SimpleNamespace(reduce=lambda value, _: value),
    )
    means = Means()
    means.add("kl", 1.0, 3)
    means.add("kl", torch.tensor(5.0), 1)
    means.add("entropy", 2.0, 0)
    assert means.taken(trainer) == {"kl": 2.0, "entropy": 0.0}
