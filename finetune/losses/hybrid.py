"""Across tokenizers: tokens that both vocabularies have by a divergence, the others by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from finetune.losses.base_crossing import CrossLoss
from finetune.losses.uld import sorted_distance

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
        ours = [one for one, _ in self.pairs]
        theirs = [two for _, two in self.pairs]
        if not 0 <= self.beta <= 1 or not (
            self.weight is None or 0 <= self.weight <= 1
        ):
            raise ValueError(
                f"beta={self.beta}, weight={self.weight}; use 0 to 1"
            )
        if len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
            raise ValueError(
                "pairs: a token is matched twice; match each at most once"
            )

    def merged(self, student: Any, teacher: Any) -> tuple[Any, Any]:
        """Both parts."""
        table = torch.tensor(
            self.pairs, dtype=torch.long, device=student.device
        ).reshape(-1, 2)
        ours = table[:, 0]
        theirs = table[:, 1]
        share = (
            len(ours) / teacher.shape[-1]
            if self.weight is None
            else self.weight
        )
        known, slope = self._divergence(student[:, ours], teacher[:, theirs])
        left, right = (
            torch.ones(x.shape[-1], dtype=torch.bool, device=x.device)
            for x in (student, teacher)
        )
        left[ours], right[theirs] = False, False
        rest, other = sorted_distance(student[:, left], teacher[:, right])
        whole = torch.empty_like(student)
        whole[:, ours], whole[:, left] = share * slope, (1 - share) * other
        return share * known + (1 - share) * rest, whole

    def _divergence(self, ps: Any, pt: Any) -> tuple[Any, Any]:
        least = torch.finfo(ps.dtype).tiny
        ls, lt = (p.clamp(min=least).log() for p in (ps, pt))
        if self.beta == 0:
            return (pt * (lt - ls)).sum(dim=-1), -pt / ps.clamp(min=least)
        if self.beta == 1:
            return (ps * (ls - lt)).sum(dim=-1), ls - lt + 1
        middle = torch.lerp(ps, pt, self.beta).clamp(min=least).log()
        value = self.beta * (pt * (lt - middle)).sum(dim=-1) + (
            1 - self.beta
        ) * (ps * (ls - middle)).sum(dim=-1)
        return value, (1 - self.beta) * (ls - middle)


def matched(
    student: Sequence[str], teacher: Sequence[str]
) -> tuple[tuple[int, int], ...]:
    r"""Pairs of ids whose tokens are the same text, a space being a space however it is spelt; the
    first of equal ones counts.

    >>> matched(["\u2581the", "x"], ["x", "\u0120the", "y"])
    ((0, 1), (1, 0))
    """
    places: dict[str, int] = {}
    for number, token in enumerate(teacher):
        places.setdefault(token.translate(_SPACES), number)
    found: dict[int, int] = {}
    for number, token in enumerate(student):
        other = places.get(token.translate(_SPACES))
        if other is not None:
            found.setdefault(other, number)
    return tuple(sorted((own, other) for other, own in found.items()))
