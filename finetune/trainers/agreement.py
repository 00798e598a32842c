"""How near a student's own texts are to what a teacher would say: figures for the log, without a
gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from finetune.core.tensors import (
    HiddenStates,
    Labels,
    RowLabels,
    RowLogits,
    RowLogProbs,
    RowValues,
    TopIds,
)
from finetune.data.tokens import IGNORED
from finetune.kernels.heads import Head
from finetune.losses.base_parts import Sparse, TeacherAt, whole

# Tokens of a batch that are looked at, spread over it.
_MOST = 64


class Agreement(NamedTuple):
    """Means over tokens that the student wrote.

    Attributes:
        overlap: share, 0 to 1, of the student's k likeliest tokens that are among the teacher's k.
        gap: ln of the student's probability of the token over the teacher's, in nats: the reverse
            KL as the token alone shows it (On-Policy Distillation, Thinking Machines, 2025). Tokens
            that a teacher who is known in part does not name are left out; NaN where all are.
    """

    overlap: float
    gap: float


def agreement(
    hidden: HiddenStates,
    head: Head,
    say: TeacherAt,
    labels: Labels,
    k: int = 16,
) -> Agreement | None:
    """Looks at some tokens of a batch; None where it has none.

    Args:
        hidden: [B, T, H] states of the student, shifted.
        head: the student's.
        say: the teacher, by flat positions.
        labels: [B, T] shifted labels: what the student wrote.
        k: likeliest tokens that are compared, 1 or more.
    """
    flat = labels.reshape(-1)
    learnt = (flat != IGNORED).nonzero()[:, 0]
    positions = learnt[:: len(learnt) // _MOST + 1]
    if not len(positions):
        return None
    states = hidden.detach().reshape(-1, hidden.shape[-1])
    with torch.no_grad():
        logits = head.logits(states[positions])
        student = whole(logits).log_softmax(dim=-1)
        answer = say(positions)
    if not isinstance(answer, Sparse):
        answer = _all_of(answer)
    k = min(k, student.shape[-1])
    best = student.topk(k, dim=-1)
    shared = _shared(best.indices, _likeliest(answer, k))
    gaps = _gaps(student, answer, flat[positions])
    return Agreement(
        overlap=float(shared.float().mean()) / k,
        gap=float(gaps.nanmean()),
    )


def _likeliest(teacher: Sparse, k: int) -> TopIds:
    """[N, k] ids that a teacher finds likeliest, or as many as it names; -1 for one that is not
    known.
    """
    width = teacher.logs.shape[1]
    best = teacher.logs.topk(min(k, width), dim=-1)
    ids = teacher.ids.gather(1, best.indices)
    return ids.masked_fill(best.values == -torch.inf, -1)


def _gaps(
    student: RowLogProbs, teacher: Sparse, tokens: RowLabels
) -> RowValues:
    """[N] the student's log-probability of each token less the teacher's; NaN where that is not
    known.
    """
    column = tokens[:, None]
    own = student.gather(1, column)[:, 0]
    named = teacher.ids == column
    theirs = teacher.logs.masked_fill(~named, -torch.inf).amax(dim=1)
    unknown = theirs == -torch.inf
    return (own - theirs).masked_fill(unknown, torch.nan)


def _all_of(logits: RowLogits) -> Sparse:
    """A teacher who gives all, as one who names every token."""
    logs = whole(logits).log_softmax(dim=-1)
    ids = torch.arange(logs.shape[1], device=logs.device)
    return Sparse(ids.expand(len(logs), -1), logs)


def _shared(one: TopIds, two: TopIds) -> torch.Tensor:
    """[N] how many ids of a row stand in both."""
    same = one[:, :, None] == two[:, None, :]
    return same.any(dim=2).sum(dim=1)
