"""Sorted distances are the formula on paper, by position and by groups of bytes; the chain rule's gradient is exact; growth is linear."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.losses.base_crossing import align, positional
from finetune.losses.uld import Uld
from tests.finetune.losses.brute import same


def sides(
    seed,
    student_vocabulary=7,
    teacher_vocabulary=5,
    *,
    batch=2,
    length=6,
    other=8,
):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(
        batch,
        length,
        student_vocabulary,
        dtype=torch.float64,
        generator=generator,
    ).requires_grad_()
    teacher = torch.randn(
        batch,
        other,
        teacher_vocabulary,
        dtype=torch.float64,
        generator=generator,
    )
    labels = torch.randint(
        0, student_vocabulary, (batch, length), generator=generator
    )
    teacher_labels = torch.randint(
        0, teacher_vocabulary, (batch, other), generator=generator
    )
    return student, teacher, labels, teacher_labels


def distance(p, q):
    size = max(len(p), len(q))
    p, q = (
        torch.nn.functional.pad(
            x.sort(descending=True).values, (0, size - len(x))
        )
        for x in (p, q)
    )
    return (p - q).abs().sum()


def merged(logits, places, labels):
    factor = torch.stack(
        [torch.ones((), dtype=torch.float64)]
        + [logits[k].softmax(-1)[labels[k]] for k in places[:-1]]
    ).prod()
    return factor * logits[places[-1]].softmax(-1)


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
def test_by_position_it_is_the_original(seed, one, two):
    student, teacher, *_ = sides(seed, one, two)
    mask, other = torch.ones(2, 6), torch.ones(2, 8)
    mask[0, 3:], mask[1, 0] = 0, 0
    values = []
    for row in range(2):
        places = mask[row].nonzero()[:, 0]
        each = [
            distance(student[row, k].softmax(-1), teacher[row, n].softmax(-1))
            for n, k in enumerate(places)
        ]
        values.append(torch.stack(each).mean())
    same(
        Uld()(student, teacher, mask, teacher_mask=other),
        torch.stack(values).mean(),
        student,
    )


@given(st.integers(0, 10**6))
def test_groups_are_merged_by_the_chain_rule(seed):
    student, teacher, labels, teacher_labels = sides(seed)
    groups = [
        [((0,), (0, 1)), ((1, 2, 3), (2,)), ((4, 5), (3, 4, 5))],
        [((2, 3), (1,))],
    ]
    wanted = torch.stack([
        torch.stack([distance(merged(student[row], a, labels[row]), merged(teacher[row], b, teacher_labels[row])) for a, b in found]).mean()
        for row, found in enumerate(groups)
    ]).mean()  # fmt: skip
    found = Uld()(
        student,
        teacher,
        torch.ones(2, 6),
        labels=labels,
        teacher_labels=teacher_labels,
        groups=groups,
    )
    same(found, wanted, student)


@given(
    st.lists(st.text("ab cé", min_size=1, max_size=4), min_size=1, max_size=12),
    st.data(),
)
def test_alignment_cuts_at_common_ends_and_covers_both(pieces, data):
    text = "".join(pieces)
    ours = [len("".join(pieces[: n + 1])) for n in range(len(pieces))]
    cuts = sorted(
        {*data.draw(st.lists(st.integers(1, len(text)), max_size=8)), len(text)}
    )
    found = align(ours, cuts)
    assert [n for a, _ in found for n in a] == list(range(len(ours)))
    assert [n for _, b in found for n in b] == list(range(len(cuts)))
    for a, b in found:
        assert ours[a[-1]] == cuts[b[-1]]
    assert len(found) == len(set(ours) & set(cuts))


def test_the_same_tokenizer_aligns_one_to_one_and_equals_the_original():
    student, teacher, *_ = sides(3, 7, 7, other=6)
    groups = [align(range(1, 7), range(1, 7))] * 2
    mask = torch.ones(2, 6)
    same(
        Uld()(student, teacher, mask, groups=groups),
        Uld()(student, teacher, mask),
        student,
    )
    assert groups[0] == [(range(n, n + 1), range(n, n + 1)) for n in range(6)]
    assert positional(mask, mask)[0] == [([n], [n]) for n in range(6)]


def test_equal_sides_are_0_and_labels_are_needed_for_groups():
    student, *_ = sides(4, 7, 7)
    assert float(
        Uld()(
            student, student.detach()[:, :, torch.randperm(7)], torch.ones(2, 6)
        ).detach()
    ) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="need labels"):
        Uld()(
            student,
            student.detach(),
            torch.ones(2, 6),
            groups=[[((0, 1), (0, 1))]] * 2,
        )
    empty = Uld()(student, student.detach(), torch.zeros(2, 6))
    assert float(empty.detach()) == 0.0
    assert torch.autograd.grad(empty, student)[0].abs().sum() == 0


@given(st.integers(0, 10**6))
def test_a_temperature_divides_the_logits_of_every_token(seed):
    student, teacher, labels, teacher_labels = sides(seed)
    # One token against one, and a group of two tokens against three.
    groups = [[([0], [1]), ([2, 3], [3, 4, 5])]] * 2
    named = {
        "labels": labels,
        "teacher_labels": teacher_labels,
        "groups": groups,
    }
    mask = torch.ones(2, 6)
    same(
        Uld(temperature=2.5)(student, teacher, mask, **named),
        Uld()(student / 2.5, teacher / 2.5, mask, **named),
        student,
    )


def test_a_temperature_must_be_above_0():
    with pytest.raises(ValueError, match="above 0"):
        Uld(temperature=0.0)
