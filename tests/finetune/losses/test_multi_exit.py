"""Exits are weighed, taught by the deepest or by the shallowest, as on paper; the teaching exit gets no gradient from the KL."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from finetune.losses.multi_exit import MultiExit
from tests.finetune.losses.brute import cases, same


@pytest.mark.parametrize("teacher", ["weighted", "deepest", "shallowest"])
@given(cases())
def test_it_is_the_formula(teacher, case):
    mask, labels = case["mask"], case["labels"]
    exits = [
        case["student"],
        case["teacher"].clone().requires_grad_(),
        (case["student"] * 0.5 + 1).detach().requires_grad_(),
    ]
    mean = lambda x: (x * mask).sum() / mask.sum()  # noqa: E731
    nll = [
        mean(-z.log_softmax(-1).gather(-1, labels[..., None])[..., 0])
        for z in exits
    ]
    if teacher == "weighted":
        wanted = (nll[0] + 2 * nll[1] + 3 * nll[2]) / 6
    else:
        best = 2 if teacher == "deepest" else 0
        lt = (exits[best].detach() / 2).log_softmax(-1)
        soft = [
            mean((lt.exp() * (lt - (z / 2).log_softmax(-1))).sum(-1))
            for z in exits
        ]
        wanted = nll[best] + sum(
            0.7 * nll[k] + 0.3 * 4 * soft[k] for k in range(3) if k != best
        )
    same(
        MultiExit(teacher=teacher, share=0.3, temperature=2.0)(
            exits, None, mask, labels=labels
        ),
        wanted,
        *exits,
    )


def test_one_exit_is_refused():
    with pytest.raises(ValueError, match="two or more"):
        MultiExit()(
            [torch.zeros(1, 1, 2)],
            None,
            torch.ones(1, 1),
            labels=torch.zeros(1, 1, dtype=torch.long),
        )
