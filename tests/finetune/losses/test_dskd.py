"""Dual-space distillation is the formula on paper, a token at a time; padding changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.dskd import Dskd, Space
from tests.finetune.losses.brute import same


def space(generator, length, width, size, learnt):
    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    head = draw(size, width)
    labels = torch.randint(0, size, (2, length), generator=generator)
    labels = labels.masked_fill(~learnt, -100)
    parts = [draw(2, length, width) for _ in range(3)]
    parts[0].requires_grad_()
    return Space(*parts, labels, lambda x: x @ head.T, lambda x: x @ head.T)


def case(seed):
    generator = torch.Generator().manual_seed(seed)
    ours = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0]]).bool()
    theirs = torch.tensor([[1, 1, 1], [0, 1, 0]]).bool()
    student = space(generator, 4, 3, 6, ours)
    teacher = space(generator, 3, 5, 7, theirs)
    torch.manual_seed(seed)
    return student, teacher, ours, theirs, Dskd().network(3, 5).double()


def on_paper(student, teacher, ours, theirs, network):
    """Sums over single tokens."""

    def std(values):
        return values[theirs].detach().std()

    keys = torch.cat([teacher.inputs, teacher.targets], -1)
    key_size = std(keys)
    sizes = [std(teacher.states), std(teacher.targets)]
    total = 0.0
    for row in range(2):
        our_places = ours[row].nonzero()[:, 0].tolist()
        their_places = theirs[row].nonzero()[:, 0].tolist()
        score = {}
        for t in our_places:
            parts = [student.inputs[row, t], student.targets[row, t]]
            ask = network.query(torch.cat(parts))
            for u in their_places:
                key = keys[row, u] / key_size
                score[t, u] = ask @ key / math.sqrt(2 * 5)
        for t in our_places:
            weights = torch.stack([score[t, u] for u in their_places]).softmax(
                0
            )
            brought = 0.0
            for weight, u in zip(weights, their_places, strict=True):
                said = teacher.states[row, u].detach() / sizes[0]
                said = said + teacher.targets[row, u] / sizes[1]
                brought = brought + weight * network.to_student(said)
            there = student.frozen(brought).log_softmax(-1)
            label = int(student.labels[row, t])
            total = total - there[label]
            if int(there.argmax()) == label:
                fixed = there.detach()
                own = student.read(student.states[row, t]).log_softmax(-1)
                total = total + (fixed.exp() * (fixed - own)).sum()
        for u in their_places:
            weights = torch.stack([score[t, u] for t in our_places]).softmax(0)
            sent = 0.0
            for weight, t in zip(weights, our_places, strict=True):
                sent = sent + weight * network.to_teacher(
                    student.states[row, t]
                )
            ours_there = teacher.frozen(sent).log_softmax(-1)
            taught = teacher.read(teacher.states[row, u]).log_softmax(-1)
            taught = taught.detach()
            total = total + (taught.exp() * (taught - ours_there)).sum()
    return total / int(ours.sum())


@given(st.integers(0, 10**6))
def test_it_is_the_formula(seed):
    student, teacher, ours, theirs, network = case(seed)
    found = Dskd()(student, teacher, ours, network=network)
    wanted = on_paper(student, teacher, ours, theirs, network)
    leaves = [student.states, *network.parameters()]
    same(found, wanted, *leaves)


def test_what_is_masked_changes_nothing_and_a_network_is_needed():
    student, teacher, ours, _, network = case(3)
    states = student.states.detach().where(ours[:, :, None], 9.0)
    one = Dskd()(student, teacher, ours, network=network)
    other = student._replace(states=states)
    two = Dskd()(other, teacher, ours, network=network)
    assert float(one.detach()) == pytest.approx(float(two.detach()))
    none = torch.zeros_like(ours)
    assert float(Dskd()(student, teacher, none, network=network).detach()) == 0
    with pytest.raises(ValueError, match="needs network"):
        Dskd()(student, teacher, ours)
