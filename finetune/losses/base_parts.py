"""A teacher of whom a few tokens are known: a partition of the vocabulary into these tokens and all
others together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import (
    Positions,
    RowLogits,
    RowLogProbs,
    RowProbabilities,
    RowValues,
    TopIds,
    TopLogProbs,
    ValuesAndSlopes,
)
from finetune.losses.base import (
    FLOOR,
    TokenLoss,
    log_softmax_,
    precise,
    spare,
)


class Sparse(NamedTuple):
    """What a sparse teacher says: token ids [N, k], distinct in a row, and their natural
    log-probabilities.

    An id with -inf is not known: it belongs to the rest.
    """

    ids: TopIds
    logs: TopLogProbs


# Positions [n] of the flat batch of shifted tokens -> what a teacher gives to them: logits [n, V]
# in a fresh buffer, or the few that it wrote down.
TeacherAt = Callable[[Positions], RowLogits | Sparse]


def whole(answer: RowLogits | Sparse) -> RowLogits:
    """The logits of a teacher who gives them all, in fp32 or better.

    Raises:
        TypeError: a teacher of whom a part is known.
    """
    if isinstance(answer, Sparse):
        raise TypeError(
            "this needs all logits of a teacher, and of this one the likeliest are known"
        )
    return answer.to(precise(answer.dtype))


def rows_of_parts(
    loss: TokenLoss, student: RowLogits, known: Sparse
) -> ValuesAndSlopes:
    """What `loss.rows` gives over the parts that are known of the teacher: its tokens, and the tail
    of all others.

    Within the tail a student may spread its mass as it likes: no token of it is pulled up or down
    but with all of them. The value is that of the loss over these parts, exactly; for a divergence
    it is a lower bound of the whole one, and 0 where both agree.

    Args:
        loss: one with `parts`.
        student: [N, V] logits; overwritten, and becomes the gradient.
        known: [N, k]; a row that is -inf throughout counts 0, without a gradient.

    Returns:
        (values [N], gradient [N, V]).
    """
    probabilities = spare("all", student)
    log_probs = log_softmax_(student, probabilities)
    teacher = known.logs.to(log_probs.dtype)
    told = teacher > -torch.inf
    tail = _tail_mass(probabilities, known.ids, told)
    rounding = torch.finfo(known.logs.dtype).eps
    whole = told.sum(dim=-1, keepdim=True) == student.shape[-1]
    # One more column than tokens are known: the tail. What is not known, and the tail of a teacher
    # who is known whole, stand at FLOOR on both sides.
    ours = _with_tail(
        log_probs.gather(1, known.ids), tail.log(), told=told, whole=whole
    )
    theirs = _with_tail(
        teacher,
        _rest(teacher, rounding).to(teacher.dtype),
        told=told,
        whole=whole,
    )
    values, part_slopes = loss.rows(ours, theirs)
    # The tail's slope is shared out by the student's own probabilities in it.
    slope = torch.mul(probabilities, part_slopes[:, -1:] / tail, out=student)
    known_slopes = part_slopes[:, :-1].where(told, slope.gather(1, known.ids))
    slope.scatter_(1, known.ids, known_slopes)
    silent = ~told.any(dim=-1)
    return (
        values.masked_fill(silent, 0.0),
        slope.masked_fill_(silent[:, None], 0.0),
    )


def _tail_mass(
    probabilities: RowProbabilities, ids: TopIds, told: Tensor
) -> RowValues:
    """[N, 1] the student's mass beyond the tokens that are told; these become 0 in place.

    It is summed, not subtracted from 1: it may be smaller than 1 can show.
    """
    own = probabilities.gather(1, ids)
    probabilities.scatter_(1, ids, own.masked_fill(told, 0.0))
    tail = probabilities.sum(dim=-1, keepdim=True)
    return tail.clamp_(min=torch.finfo(tail.dtype).tiny)


def _rest(teacher: TopLogProbs, rounding: float) -> RowValues:
    """[N, 1] ln of what is left of the teacher's 1, in fp64.

    It is known to the rounding of its parts: no tail is taken for lighter than that.
    """
    mass = teacher.double().exp().sum(dim=-1, keepdim=True)
    return (1 - mass).clamp(min=rounding).log()


def _with_tail(
    logs: TopLogProbs, tail: RowValues, *, told: Tensor, whole: Tensor
) -> RowLogProbs:
    """[N, k + 1] the parts' log-probabilities."""
    parts = [logs.masked_fill(~told, FLOOR), tail.masked_fill(whole, FLOOR)]
    return torch.cat(parts, dim=1)
