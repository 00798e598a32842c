"""Losses over what servers say are those over the same tokens and one tail, by autograd in float64 from the teacher itself."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch

from finetune.kernels.fused import fused
from finetune.kernels.heads import Head
from finetune.students.load import load_tokenizer
from finetune.teachers.served import ServedTeacher
from finetune.teachers.served_settings import Servers
from synth.core import registry
from tests import tiny
from tests.finetune.teachers.scoring import Model, llama, openai, scoring, vllm

K = 9


def kl(one, two):
    return (one.exp() * (one - two)).sum(-1)


def mixed(one, two, share):
    """Ln of share x one + (1 - share) x two."""
    logs = torch.tensor([share, 1 - share]).double().log()
    return torch.logaddexp(one + logs[0], two + logs[1])


def jensen_shannon(student, teacher, beta=0.3):
    middle = mixed(teacher, student, beta)
    return beta * kl(teacher, middle) + (1 - beta) * kl(student, middle)


FORMULAS = {
    "top_k": lambda s, t: kl(t, s),
    "forward_kl": lambda s, t: kl(t, s),
    "reverse_kl": kl,
    "jsd:beta=0.3": jensen_shannon,
    "skew_kl:alpha=0.2": lambda s, t: kl(t, mixed(t, s, 0.2)),
    "skew_reverse_kl:alpha=0.2": lambda s, t: kl(s, mixed(s, t, 0.2)),
    "total_variation": lambda s, t: 0.5 * (s.exp() - t.exp()).abs().sum(-1),
}


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 90, (3, 8), generator=generator)
    labels = ids.clone()
    labels[:, :2] = -100
    labels[1, 4] = -100
    mask = torch.ones_like(ids)
    mask[2, 6:], labels[2, 6:] = 0, -100
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


@pytest.fixture(scope="module")
def said(batch, tmp_path_factory):
    """What a server of each kind says of the batch."""
    tokenizer = load_tokenizer(tiny.causal())
    answers = {}
    for style in (vllm, openai, llama):
        folder = tmp_path_factory.mktemp(style.__name__)
        with scoring(tiny.other(), style) as server:
            servers = Servers(urls=(server.url,), k=K)
            with closing(ServedTeacher(servers, tokenizer, folder)) as served:
                answers[style.__name__] = served.says(batch)
    return answers


def parts(student, teacher, known):
    """Both sides over the known tokens and the rest, from logits in float64."""
    sides = []
    for logits in (student, teacher):
        logs = logits.log_softmax(-1)
        rest = logs.masked_fill(known, -torch.inf).logsumexp(-1)
        own = torch.where(known, logs, torch.tensor(-1e4).double())
        sides.append(torch.cat([own, rest[:, None]], dim=1))
    return sides


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("style", ["vllm", "openai", "llama"])
def test_value_and_gradient_are_those_of_the_teacher_cut_alike(
    batch, said, style, name
):
    model = Model(tiny.other())
    size = len(model.tokenizer)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(3, 7, 16, generator=generator).requires_grad_()
    weight = torch.randn(size, 16, generator=generator).requires_grad_()
    labels = batch["labels"][:, 1:]
    counted = (labels != -100).reshape(-1)
    found = fused(
        registry.build("finetune.losses", name),
        hidden,
        Head(weight=weight, bias=None),
        said[style],
        labels != -100,
    ).total
    have = torch.autograd.grad(found, (hidden, weight))
    # The teacher itself, cut to the tokens that the server named.
    told = said[style](counted.nonzero()[:, 0])
    known = torch.zeros(int(counted.sum()), size, dtype=torch.bool)
    known.scatter_(1, told.ids, told.logs > -torch.inf)
    fewest = 3 if style == "openai" else K
    assert known.sum(dim=1).min() >= fewest
    assert known.sum(dim=1).max() <= K + 1
    whole = [
        model.logs(row.tolist()[: int(real)])
        for row, real in zip(
            batch["input_ids"], batch["attention_mask"].sum(1), strict=True
        )
    ]
    rows = [
        torch.nn.functional.pad(logs[:7], (0, 0, 0, 7 - len(logs[:7])))
        for logs in whole
    ]
    teacher = torch.cat(rows)[counted]
    leaves = [
        one.detach().double().requires_grad_() for one in (hidden, weight)
    ]
    student = (leaves[0] @ leaves[1].T).reshape(-1, size)[counted]
    values = FORMULAS[name](*parts(student, teacher, known))
    wanted = values.mean()
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), abs=1e-5
    )
    assert float(wanted.detach()) > 1e-3
    for one, two in zip(have, torch.autograd.grad(wanted, leaves), strict=True):
        assert (one - two).abs().max() < 1e-5
        assert two.abs().max() > 1e-3
