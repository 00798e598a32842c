"""Forward KL to a teacher of whom only the k likeliest tokens are known, with a named way to treat
the mass that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from finetune.core.tensors import (
    RowLabels,
    RowLogits,
    TopLogProbs,
    ValuesAndSlopes,
)
from finetune.losses.base import FLOOR, TokenLoss, dot, log_softmax_
from finetune.losses.base_parts import Sparse, rows_of_parts
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class TopK(TokenLoss):
    r"""Sum over the teacher's k likeliest tokens of pt (lt - ls), and what `missing` makes of the
    others.

    Args:
        k: tokens of a dense teacher that count; a stored one brings its own.
        missing: `tail`: all other tokens are one bucket on both sides, which is exact for that
            partition and a lower bound of the KL;
            `renormalise`: the teacher's k tokens are all there is; `drop`: the rest is left out,
                and pt does not sum to 1.
        temperature: see `TokenLoss`; of a stored teacher only 1 is known.

    Shapes: student and teacher logits [B, T, V], mask [B, T].

    Returns: nats a token, a scalar; with `tail` 0 where both agree and never negative, with `drop`
    it may be negative. Tokens of which a stored teacher knows nothing (-inf throughout) add 0 to
    the sum.

    Raises:
        ValueError: a k below 1; shapes that do not fit; a temperature that a stored teacher does
            not know.

    Source: the three ways that public code treats the missing mass, here by name instead of by
    accident.

    Example:
        >>> import torch
        >>> student, teacher = (
        ...     torch.tensor([[p]]).log() for p in ((0.75, 0.15, 0.1), (0.5, 0.3, 0.2))
        ... )
        >>> round(float(TopK(k=1)(student, teacher, torch.ones(1, 1))), 4)
        0.1438
    """

    k: int = 64
    missing: Literal["tail", "renormalise", "drop"] = "tail"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"k={self.k}; use 1 or more")

    @property
    def parts(self) -> bool:  # type: ignore[override]
        """Only a tail says all that there is to say of a teacher who is known in part."""
        return self.missing == "tail"

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits | Sparse,
        labels: RowLabels | None = None,  # noqa: ARG002
    ) -> ValuesAndSlopes:
        """From a dense teacher, or a `Sparse` one."""
        top = teacher if isinstance(teacher, Sparse) else self._best(teacher)
        if self.missing == "tail":
            return rows_of_parts(ForwardKl(), student, top)
        probabilities = torch.empty_like(student)
        logs = log_softmax_(student, probabilities)
        target = self._target(top.logs.to(logs.dtype))
        silent = (top.logs == -torch.inf).all(dim=-1)
        mass = target.exp()
        own = logs.gather(1, top.ids)
        value = dot(mass, target - own)
        slope = probabilities.mul_(mass.sum(dim=-1, keepdim=True))
        slope.scatter_add_(1, top.ids, -mass)
        return (
            value.masked_fill(silent, 0.0),
            slope.masked_fill_(silent[:, None], 0.0),
        )

    def _target(self, logs: TopLogProbs) -> TopLogProbs:
        if self.missing == "renormalise":
            logs = logs.log_softmax(dim=-1).nan_to_num(nan=FLOOR)
        return logs.clamp(min=FLOOR)

    def _best(self, teacher: RowLogits) -> Sparse:
        logs = log_softmax_(teacher, torch.empty_like(teacher))
        best = logs.topk(min(self.k, logs.shape[-1]), dim=-1)
        return Sparse(best.indices, best.values)
