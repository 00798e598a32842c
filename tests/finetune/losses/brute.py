"""Brute force in float64: values and gradients of a formula on paper, by autograd, over random shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import strategies as st


@st.composite
def cases(draw: Any, most: int = 12) -> dict[str, Any]:
    """Logits, a mask with at least one counted token, and labels."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    batch, length, size = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 5)),
        draw(st.integers(2, most)),
    )
    spread = draw(st.sampled_from([0.1, 1.0, 4.0]))
    student, teacher = (
        spread
        * torch.randn(
            batch, length, size, dtype=torch.float64, generator=generator
        )
        for _ in range(2)
    )
    mask = torch.rand(batch, length, generator=generator) < 0.7
    mask[0, 0] = True
    return {
        "student": student.requires_grad_(),
        "teacher": teacher,
        "mask": mask,
        "labels": torch.randint(0, size, (batch, length), generator=generator),
    }


def agree(
    loss: Any, each: Callable[..., Any], case: dict[str, Any], **more: Any
) -> None:
    """The loss's value and gradient are those of the mean of a formula over counted tokens.

    Args:
        loss: of the library.
        each: (ls, ps, lt, pt, case) -> [B, T] values, ls being the student's log-probabilities at the loss's temperature and so on.
        case: of `cases`.
        more: arguments of the call.
    """
    student, teacher, mask = case["student"], case["teacher"], case["mask"]
    heat = getattr(loss, "temperature", 1.0)
    ls, lt = (student / heat).log_softmax(-1), (teacher / heat).log_softmax(-1)
    wanted = (each(ls, ls.exp(), lt, lt.exp(), case) * mask).sum() / mask.sum()
    same(loss(student, teacher, mask, **more), wanted, student)


def same(found: Any, wanted: Any, *leaves: Any, rel: float = 1e-9) -> None:
    """Two scalars agree in value and in their gradients."""
    assert float(found.detach()) == pytest.approx(
        float(wanted.detach()), rel=rel, abs=1e-10
    )
    have = torch.autograd.grad(
        found, leaves, allow_unused=True, retain_graph=True
    )
    want = torch.autograd.grad(
        wanted, leaves, allow_unused=True, retain_graph=True
    )
    for one, two, leaf in zip(have, want, leaves, strict=True):
        one, two = (  # noqa: PLW2901
            torch.zeros_like(leaf) if x is None else x for x in (one, two)
        )
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-9), (
            (one - two).abs().max()
        )
