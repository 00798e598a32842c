"""Self-evolution distillation: on hard tokens the student is helped by what it should know before
it is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import (
    RowLabels,
    RowLogits,
    RowProbabilities,
    ValuesAndSlopes,
)
from finetune.losses.base import TokenLoss, dot, log_softmax_, required
from finetune.losses.forward_kl import ForwardKl


@dataclass(frozen=True, kw_only=True)
class SelfEvolution(TokenLoss):
    r"""KL(teacher || student) on easy tokens, KL(teacher || r prior + (1 - r) student) on hard
    ones.

    prior = blend one-hot(label) + (1 - blend) teacher; a token is hard where KL(prior || student)
    is above `hard`, and then r = 1 - exp(-that KL), at most `most`: the harder, the more help, and
    the smaller the step. The paper's own coefficients were not to be had: these are settings, not
    its figures.

    Args:
        blend: weight of the label in the prior, 0 to 1.
        hard: nats from which on a token is hard.
        most: largest r, 0 to below 1.
        temperature: see `TokenLoss`.

    Shapes: student and teacher logits [B, T, V], mask [B, T], labels [B, T].

    Returns: nats a token, a scalar; 0 where both agree on easy tokens, not a divergence on hard
    ones.

    Raises:
        ValueError: a blend or a most out of range, no labels, shapes that do not fit.

    Source: Self-Evolution Knowledge Distillation, arXiv:2412.15303, section 3, as described there
    in words.

    Example:
        >>> student, teacher = (torch.tensor([[p]]).log() for p in ((0.75, 0.25), (0.5, 0.5)))
        >>> round(
        ...     float(
        ...         SelfEvolution(hard=9)(
        ...             student,
        ...             teacher,
        ...             torch.ones(1, 1),
        ...             labels=torch.zeros(1, 1, dtype=torch.long),
        ...         )
        ...     ),
        ...     4,
        ... )
        0.1438
    """

    blend: float = 0.5
    hard: float = 1.0
    most: float = 0.5

    divergence: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.blend <= 1 or not 0 <= self.most < 1:
            raise ValueError(
                f"blend={self.blend}, most={self.most}; use 0 to 1, and 0 to below 1"
            )

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,
    ) -> ValuesAndSlopes:
        """No gradient through the prior or r."""
        ps = torch.empty_like(student)
        pt = torch.empty_like(teacher)
        ls = log_softmax_(student, ps)
        lt = log_softmax_(teacher, pt)
        prior = self._prior(pt, required("labels", labels))
        least = torch.finfo(ps.dtype).tiny
        difficulty = dot(prior, prior.clamp(min=least).log() - ls)
        # r of each row: 0 on easy tokens.
        helping = (1 - torch.exp(-difficulty)).clamp(0, self.most)
        share = torch.where(difficulty > self.hard, helping, 0.0)[:, None]

        plain, plain_slope = ForwardKl().diverge(ls, ps, lt.clone(), pt)
        mixture = torch.lerp(ps, prior, share).clamp_(min=least)
        helped = dot(pt, lt - mixture.log())
        # The derivative by ln ps, of which softmax takes the part that sums to 0.
        pull = (ps * pt / mixture).mul_(1 - share)
        helped_slope = ps * pull.sum(dim=-1, keepdim=True) - pull
        return (
            torch.where(share[:, 0] > 0, helped, plain),
            torch.where(share > 0, helped_slope, plain_slope),
        )

    def _prior(
        self, pt: RowProbabilities, labels: RowLabels
    ) -> RowProbabilities:
        """What the student should know before: the label, blended into the teacher."""
        weight = torch.full_like(pt[:, :1], self.blend)
        return (pt * (1 - self.blend)).scatter_add_(1, labels[:, None], weight)
