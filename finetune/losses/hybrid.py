"""Across tokenizers: tokens that both vocabularies have by a divergence, the others by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.core.tensors import (
    RowLogProbs,
    RowProbabilities,
    RowValues,
    ValuesAndSlopes,
)
from finetune.losses.base_crossing import CrossLoss
from finetune.losses.uld import sorted_distance
from synth.core.errors import require_share

# How the two great families spell a space before a word.
_SPACES = str.maketrans({"\u0120": " ", "\u2581": " "})


@dataclass(frozen=True, kw_only=True)
class Hybrid(CrossLoss):
    r"""weight x generalised Jensen-Shannon over matched tokens + (1 - weight) x sorted distance
    over the others.

    Probabilities are not renormalised within either part: mass that one side puts on unmatched
    tokens counts there.

    Args:
        pairs: (student's id, teacher's id) of the same token; `matched` finds them.
        beta: weight of the teacher in the mixture, as in `Jsd`; 0 and 1 are its limits.
        weight: of the matched part, 0 to 1; None for the share of the teacher's tokens that are
            matched.
        temperature: see `CrossLoss`.

    Shapes: student logits [B, T, V], teacher logits [B, U, W], mask [B, T], teacher_mask [B, U].

    Returns: a scalar, the mean over sequences of means over groups; 0 where both agree on every
    token.

    Raises:
        ValueError: a beta or weight outside 0 to 1, a token that is matched twice, shapes that do
            not fit.

    Source: Patiño et al. (GOLD, 2025), with tokens matched across spellings of the space.

    Example:
        >>> student, teacher = (
        ...     torch.tensor([[[0.75, 0.25]]]).log(),
        ...     torch.tensor([[[0.5, 0.5]]]).log(),
        ... )
        >>> round(float(Hybrid(pairs=((0, 0), (1, 1)))(student, teacher, torch.ones(1, 1))), 4)
        0.0338
    """

    pairs: tuple[tuple[int, int], ...] = ()
    beta: float = 0.5
    weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("beta", self.beta)
        if self.weight is not None:
            require_share("weight", self.weight)
        ours = {own for own, _ in self.pairs}
        theirs = {other for _, other in self.pairs}
        if len(ours) < len(self.pairs) or len(theirs) < len(self.pairs):
            raise ValueError(
                "pairs: a token is matched twice; match each at most once"
            )

    def merged(
        self, student: RowProbabilities, teacher: RowProbabilities
    ) -> ValuesAndSlopes:
        """Both parts."""
        ours, theirs = self._matched_ids(student.device)
        share = self.weight
        if share is None:
            share = len(ours) / teacher.shape[-1]
        # Tokens of each vocabulary that the other lacks.
        ours_alone = _all_but(ours, student.shape[-1])
        theirs_alone = _all_but(theirs, teacher.shape[-1])

        divergence, matched_slope = self._divergence(
            student[:, ours], teacher[:, theirs]
        )
        distance, ranked_slope = sorted_distance(
            student[:, ours_alone], teacher[:, theirs_alone]
        )
        slope = torch.empty_like(student)
        slope[:, ours] = share * matched_slope
        slope[:, ours_alone] = (1 - share) * ranked_slope
        return share * divergence + (1 - share) * distance, slope

    def _matched_ids(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """[pairs] ids of the student, and of the teacher."""
        pairs = torch.tensor(self.pairs, dtype=torch.long, device=device)
        ours, theirs = pairs.reshape(-1, 2).unbind(dim=1)
        return ours, theirs

    def _divergence(
        self, ps: RowProbabilities, pt: RowProbabilities
    ) -> ValuesAndSlopes:
        """Generalised Jensen-Shannon, and its derivative by ps."""
        ls = _log(ps)
        lt = _log(pt)
        if self.beta == 0:
            return _kl(pt, lt, ls), -pt / _above_zero(ps)
        if self.beta == 1:
            return _kl(ps, ls, lt), ls - lt + 1
        rest = 1 - self.beta
        middle = _log(torch.lerp(ps, pt, self.beta))
        of_teacher = self.beta * _kl(pt, lt, middle)
        of_student = rest * _kl(ps, ls, middle)
        return of_teacher + of_student, rest * (ls - middle)


def _above_zero(probabilities: RowProbabilities) -> RowProbabilities:
    least = torch.finfo(probabilities.dtype).tiny
    return probabilities.clamp(min=least)


def _log(probabilities: RowProbabilities) -> RowLogProbs:
    return _above_zero(probabilities).log()


def _kl(
    probabilities: RowProbabilities,
    log_probs: RowLogProbs,
    others: RowLogProbs,
) -> RowValues:
    """[N] sum of p (ln p - ln q), of probabilities that need not sum to 1."""
    gap = log_probs - others
    return (probabilities * gap).sum(dim=-1)


def _all_but(ids: Tensor, size: int) -> Tensor:
    """[size] True for the ids of a vocabulary that are not among these."""
    others = torch.ones(size, dtype=torch.bool, device=ids.device)
    others[ids] = False
    return others


def matched(
    student: Sequence[str], teacher: Sequence[str]
) -> tuple[tuple[int, int], ...]:
    r"""Pairs of ids whose tokens are the same text, a space being a space however it is spelt; the
    first of equal ones counts.

    >>> matched(["\u2581the", "x"], ["x", "\u0120the", "y"])
    ((0, 1), (1, 0))
    """
    teacher_ids = _first_ids(teacher)
    student_ids = _first_ids(student)
    pairs = []
    for token, own in student_ids.items():
        other = teacher_ids.get(token)
        if other is not None:
            pairs.append((own, other))
    return tuple(pairs)


def _first_ids(tokens: Sequence[str]) -> dict[str, int]:
    """Text -> the first id that is spelt so, in the order of the ids."""
    ids: dict[str, int] = {}
    for number, token in enumerate(tokens):
        text = token.translate(_SPACES)
        ids.setdefault(text, number)
    return ids
