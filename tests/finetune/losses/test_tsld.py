"""Token-scaled distillation is the formula on paper: weights of a sequence add up to 1, masked tokens take none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from finetune.losses.tsld import Tsld
from tests.finetune.losses.brute import cases, same


@pytest.mark.parametrize("scale", [0.5, 10.0])
@given(cases())
def test_it_is_the_formula(scale, case):
    total = 0.0
    for row in range(len(case["mask"])):
        chosen = case["mask"][row]
        if not chosen.any():
            continue
        ls, lt = (
            case[side][row][chosen].log_softmax(-1)
            for side in ("student", "teacher")
        )
        nll = -lt.gather(1, case["labels"][row][chosen][:, None])[:, 0]
        total = (
            total
            + ((nll / scale).softmax(0) * (lt.exp() * (lt - ls)).sum(-1)).sum()
        )
    found = Tsld(scale=scale)(
        case["student"], case["teacher"], case["mask"], labels=case["labels"]
    )
    same(found, total / len(case["mask"]), case["student"])


def test_a_sequence_repeated_changes_nothing():
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    mask, labels = torch.ones(1, 4), torch.randint(0, 5, (1, 4))
    once = Tsld()(student, teacher, mask, labels=labels)
    twice = Tsld()(
        *(x.repeat(2, *[1] * (x.dim() - 1)) for x in (student, teacher, mask)),
        labels=labels.repeat(2, 1),
    )
    assert float(once) == pytest.approx(float(twice), rel=1e-6)
