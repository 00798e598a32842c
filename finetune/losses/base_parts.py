"""A teacher of whom a few tokens are known: a partition of the vocabulary into these tokens and all
others together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from finetune.losses.base import FLOOR, TokenLoss, log_softmax_, spare


class Sparse(NamedTuple):
    """What a sparse teacher says: token ids [N, k], distinct in a row, and their natural
    log-probabilities.

    An id with -inf is not known: it belongs to the rest.
    """

    ids: Any
    logs: Any


def rows_of_parts(
    loss: TokenLoss, student: Any, known: Sparse
) -> tuple[Any, Any]:
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
    logs = log_softmax_(student, probabilities)
    teacher = known.logs.to(logs.dtype)
    told = teacher > -torch.inf
    own = probabilities.gather(1, known.ids)
    # The student's tail is summed, not subtracted from 1: it may be smaller than 1 can show.
    tail = probabilities.scatter_(1, known.ids, own.masked_fill(told, 0.0)).sum(
        dim=-1, keepdim=True
    )
    tail.clamp_(min=torch.finfo(tail.dtype).tiny)
    # What is left of the teacher's 1 is known to the rounding of its parts; no tail is taken for
    # lighter than that.
    rounding = torch.finfo(known.logs.dtype).eps
    rest = (
        (1 - teacher.double().exp().sum(dim=-1, keepdim=True))
        .clamp(min=rounding)
        .log()
        .to(teacher.dtype)
    )
    everything = told.sum(dim=-1, keepdim=True) == student.shape[-1]
    ours, theirs = (
        torch.cat(
            [
                part.masked_fill(~told, FLOOR),
                other.masked_fill(everything, FLOOR),
            ],
            dim=1,
        )
        for part, other in (
            (logs.gather(1, known.ids), tail.log()),
            (teacher, rest),
        )
    )
    values, slopes = loss.rows(ours, theirs)
    slope = torch.mul(probabilities, slopes[:, -1:] / tail, out=student)
    slope.scatter_(
        1, known.ids, slopes[:, :-1].where(told, slope.gather(1, known.ids))
    )
    silent = ~told.any(dim=-1)
    return values.masked_fill(silent, 0.0), slope.masked_fill_(
        silent[:, None], 0.0
    )
