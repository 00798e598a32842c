"""MiniLM (version 2): how a layer's queries, keys and values relate to themselves, whatever the
widths and heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from finetune.core.tensors import (
    AttentionMaps,
    HiddenStates,
    Labels,
    Mask,
    Scalar,
)
from finetune.losses.base import Compares, Loss, divisor_of, precise


@dataclass(frozen=True, kw_only=True)
class Minilm(Loss[Sequence[HiddenStates]]):
    r"""Mean over queries, keys and values of KL(teacher || student) of their relations softmax(A
    A^T / sqrt(d)), in `heads` heads.

    Args:
        heads: relation heads, which must divide both widths (the paper: 48 for base models, 64 for
            large ones).

    Shapes: student a tuple of three [B, T, H] (queries, keys, values of its last layer), teacher of
    three [B, T, G], mask [B, T].

    Returns: nats, a scalar: the mean over counted tokens and heads; 0 where all relations agree,
    never negative.

    Raises:
        ValueError: heads that do not divide a width, not three of each, shapes that do not fit.

    Source: Wang et al., MiniLMv2, arXiv:2012.15828, equations 4 to 6.

    Example:
        >>> import torch
        >>> states = [torch.randn(1, 3, 8) for _ in range(3)]
        >>> round(float(Minilm(heads=2)(states, states, torch.ones(1, 3))), 6)
        0.0
    """

    heads: int = 48

    same_tokenizer: ClassVar[bool] = True
    compares: ClassVar[Compares] = "relations"

    def __call__(
        self,
        student_logits: Sequence[HiddenStates],
        teacher_logits: Sequence[HiddenStates],
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002
        denominator: float | None = None,
    ) -> Scalar:
        """Relations in the place of logits; masked tokens neither relate nor are related to."""
        if len(student_logits) != 3 or len(teacher_logits) != 3:
            raise ValueError("Minilm: give queries, keys and values of both")
        total = student_logits[0].sum() * 0.0
        counted = mask != 0
        tokens = divisor_of(denominator, counted.sum())
        for student, teacher in zip(
            student_logits, teacher_logits, strict=True
        ):
            ours = self._relations(student, counted)
            theirs = self._relations(teacher.detach(), counted)
            kl = _kl(theirs, ours, counted)
            total = total + kl / (3 * self.heads * tokens)
        return total

    def _relations(self, states: HiddenStates, counted: Mask) -> AttentionMaps:
        """[B, heads, T, T] log-probabilities; masked columns are far below all others."""
        batch, length, width = states.shape
        if width % self.heads or states.shape[:2] != counted.shape:
            raise ValueError(
                f"Minilm: states {tuple(states.shape)}, mask {tuple(counted.shape)}, "
                f"heads={self.heads}; heads must divide the width"
            )
        parts = (
            states.to(precise(states.dtype))
            .reshape(batch, length, self.heads, -1)
            .transpose(1, 2)
        )
        products: AttentionMaps = parts @ parts.transpose(-1, -2)
        scores = products / sqrt(parts.shape[-1])
        related = scores.masked_fill(~counted[:, None, None, :], -1e4)
        return related.log_softmax(dim=-1)


def _kl(
    teacher: AttentionMaps, student: AttentionMaps, counted: Mask
) -> Scalar:
    """Sum over counted queries and keys, from log-probabilities."""
    gap = teacher.exp() * (teacher - student)
    each = gap.masked_fill(~counted[:, None, None, :], 0.0).sum(dim=-1)
    return each.masked_fill(~counted[:, None, :], 0.0).sum()
