"""Universal logit distillation: sorted probabilities compared by rank, whatever the tokenizers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finetune.core.tensors import RowProbabilities, ValuesAndSlopes
from finetune.losses.base_crossing import CrossLoss


@dataclass(frozen=True, kw_only=True)
class Uld(CrossLoss):
    r"""Sum over ranks of |student - teacher|, both sorted, the smaller vocabulary padded with
    zeros: a Wasserstein distance of ranks.

    Without `groups` the k-th token of one text is compared with the k-th of the other, which drifts
    apart after the first difference; `finetune.losses.base_crossing.align` gives groups that begin
    and end at the same bytes.

    Args:
        temperature: see `CrossLoss`.

    Shapes: student logits [B, T, V], teacher logits [B, U, W], mask [B, T], teacher_mask [B, U].

    Returns: 0 to 2, a scalar: the mean over sequences of means over groups; 0 where the sorted
    probabilities agree.

    Raises:
        ValueError: a temperature that is not above 0; shapes that do not fit.

    Source: Boizard et al., arXiv:2402.12030, equation 5; groups and their chain rule as in Patiño
    et al. (GOLD, 2025), in its shifted form.

    Example:
        >>> student, teacher = (
        ...     torch.tensor([[[0.75, 0.25]]]).log(),
        ...     torch.tensor([[[0.5, 0.3, 0.2]]]).log(),
        ... )
        >>> round(float(Uld()(student, teacher, torch.ones(1, 1))), 4)
        0.5
    """

    def merged(
        self, student: RowProbabilities, teacher: RowProbabilities
    ) -> ValuesAndSlopes:
        """The derivative is the sign of each rank's difference, at the token of that rank."""
        return sorted_distance(student, teacher)


def sorted_distance(
    student: RowProbabilities, teacher: RowProbabilities
) -> ValuesAndSlopes:
    """(sum over ranks of |student - teacher| [N], its derivative [N, V]) of rows [N, V] and [N,
    W].
    """
    gap, order = student.sort(dim=-1, descending=True)
    ranked, _ = teacher.sort(dim=-1, descending=True)
    shared = min(gap.shape[-1], ranked.shape[-1])
    gap[:, :shared] -= ranked[:, :shared]
    # Ranks that the student lacks are compared with 0.
    beyond = ranked[:, shared:].sum(dim=-1)
    value = gap.abs().sum(dim=-1) + beyond
    slope = torch.empty_like(gap)
    slope.scatter_(1, order, gap.sign_())
    return value, slope
