"""Align-to-distill: learnt mixtures of the student's attention maps meet all of the teacher's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from finetune.core.tensors import AttentionMaps, Labels, Mask, Scalar
from finetune.losses.base import Compares, Loss, divisor_of, precise


@dataclass(frozen=True, kw_only=True)
class AlignToDistill(Loss[AttentionMaps]):
    r"""decay^epoch x mean over queries and teacher heads of KL(teacher map || aligned student map).

    `align` is a learnt pointwise convolution from all student heads of all layers to all teacher
    heads (`torch.nn.Conv2d(S, R, 1)`). Each row of a map is a distribution over keys: the teacher's
    own, and the softmax of the aligned student's.

    Args:
        decay: above 0, at most 1 (the paper: 0.9).

    Shapes: student maps [B, S, T, U] (heads of all layers), teacher maps [B, R, T, U], mask [B, T]
    of queries; align [B, S, T, U] -> [B, R, T, U]; epoch from 0.

    Returns: nats, a scalar, never negative. The released code sums over batch and heads, and takes
    the softmax of a flattened map that is one already; here rows are compared as what they are.

    Raises:
        ValueError: no align, shapes that do not fit.

    Source: Jin et al., Align-to-Distill, arXiv:2403.01479, section 3.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[[0.75, 0.25]]]])
        >>> round(abs(float(AlignToDistill()(maps, maps, torch.ones(1, 1), align=torch.log))), 6)
        0.0
    """

    decay: float = 0.9

    needs: ClassVar[tuple[str, ...]] = ("align",)
    compares: ClassVar[Compares] = "maps"

    def __call__(
        self,
        student_logits: AttentionMaps,
        teacher_logits: AttentionMaps,
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002
        denominator: float | None = None,
        align: Callable[[AttentionMaps], AttentionMaps] | None = None,
        epoch: int = 0,
    ) -> Scalar:
        """Maps in the place of logits."""
        if (
            align is None
            or student_logits.dim() != 4
            or student_logits.shape[2] != mask.shape[1]
        ):
            raise ValueError(
                f"AlignToDistill: maps {tuple(student_logits.shape)}, mask {tuple(mask.shape)}; "
                "use [B, S, T, U], [B, T] and align="
            )
        dtype = precise(student_logits.dtype)
        counted = mask != 0
        ours = align(student_logits).to(dtype).log_softmax(dim=-1)
        theirs = teacher_logits.detach().to(dtype)
        if ours.shape != theirs.shape:
            raise ValueError(
                f"AlignToDistill: aligned {tuple(ours.shape)}, teacher {tuple(theirs.shape)}; "
                "they must be the same"
            )
        # Zeros of the teacher's map add 0: 1e-30 keeps their logarithm finite.
        gap = theirs.clamp(min=1e-30).log() - ours
        each = (theirs * gap).sum(dim=-1)
        total = each.masked_fill(~counted[:, None, :], 0.0).sum()
        queries = divisor_of(denominator, counted.sum())
        return self.decay**epoch * total / (queries * theirs.shape[1])
