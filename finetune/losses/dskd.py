"""Dual-space distillation: each side's states are projected into the other's space and read by the
other's head, tokens aligned by attention across the models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from finetune.core.tensors import (
    HiddenStates,
    Labels,
    Mask,
    RowLogits,
    RowStates,
    Scalar,
)
from finetune.losses.base import Loss, divisor_of


class Space(NamedTuple):
    """What one model shows of the same texts, in tokens of its own, already shifted.

    Attributes:
        states: [B, T, H] last hidden states.
        inputs: [B, T, H] embeddings of the tokens that were read.
        targets: [B, T, H] embeddings of the tokens that are predicted.
        labels: [B, T] the tokens that are predicted; numbers below 0 where none is.
        read: states [N, H] -> logits [N, V], by the model's head.
        frozen: likewise, by a head that no gradient reaches.
    """

    states: HiddenStates
    inputs: HiddenStates
    targets: HiddenStates
    labels: Labels
    read: Callable[[RowStates], RowLogits]
    frozen: Callable[[RowStates], RowLogits]


class Projectors(nn.Module):
    """What is learnt beside the student.

    Args:
        student: width of its states.
        teacher: width of its states.
    """

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.query = nn.Linear(2 * student, 2 * teacher)
        self.to_student = nn.Linear(teacher, student)
        self.to_teacher = nn.Linear(student, teacher)


@dataclass(frozen=True, kw_only=True)
class Dskd(Loss[Space]):
    r"""Three terms: cross-entropy of the labels under the teacher's states in the student's space;
    KL(that || student) where it is right; KL(teacher || the student's states in the teacher's
    space).

    The student's tokens ask the teacher's by their embeddings (of the token read and of the one to
    come), and the same scores bring the student's states to the teacher's tokens. The teacher's
    embeddings and states are divided by their standard deviation over the learnt tokens.

    Args: none.

    Shapes: student a `Space` of [B, T, H], teacher one of [B, U, G], mask [B, T], network
        `Projectors`.

    Returns: nats a token of the student, a scalar; the cross-entropy keeps it above 0 where both
        agree.

    Raises:
        ValueError: no network.

    Source: Zhang et al., DSKD, arXiv:2406.17328, sections 3.2 and 3.3, in the form of the released
        code, whose standard deviations count padding too.

    Example:
        >>> torch.manual_seed(0) and None
        >>> states = torch.ones(1, 2, 3)
        >>> read = lambda rows: rows @ torch.eye(3)
        >>> space = Space(
        ...     states, states, torch.eye(3)[None, :2], torch.tensor([[0, 1]]), read, read
        ... )
        >>> loss = Dskd()
        >>> value = loss(space, space, torch.ones(1, 2), network=loss.network(3, 3))
        >>> bool(value > 0)
        True
    """

    divergence: ClassVar[bool] = False
    same_tokenizer: ClassVar[bool] = False

    def network(self, student: int, teacher: int) -> Projectors:
        """New projectors."""
        return Projectors(student, teacher)

    def __call__(
        self,
        student_logits: Space,
        teacher_logits: Space,
        mask: Mask,
        *,
        labels: Labels | None = None,  # noqa: ARG002 - a space has its own
        denominator: float | None = None,
        network: nn.Module | None = None,
    ) -> Scalar:
        """The sum of the three, each over its own tokens, divided by the student's."""
        if network is None:
            raise ValueError("Dskd needs network=, as its network() makes it")
        learnt = cast("Projectors", network)
        student, teacher = student_logits, teacher_logits
        ours, theirs = mask != 0, teacher.labels >= 0
        tokens = divisor_of(denominator, ours.sum())
        if not ours.any() or not theirs.any():
            return student.states.sum() * 0.0
        scores = _scores(student, teacher, (ours, theirs), learnt)
        said = _scaled(teacher.states, theirs) + _scaled(
            teacher.targets, theirs
        )
        brought = scores.softmax(dim=-1) @ learnt.to_student(said)
        in_ours = student.frozen(brought[ours]).log_softmax(dim=-1)
        wanted = student.labels[ours]
        hard = -in_ours.gather(1, wanted[:, None]).sum()
        own = student.read(student.states[ours]).log_softmax(dim=-1)
        right = in_ours.argmax(dim=-1) == wanted
        soft = (_kl(in_ours.detach(), own) * right).sum()

        sent = scores.mT.softmax(dim=-1) @ learnt.to_teacher(student.states)
        in_theirs = teacher.frozen(sent[theirs]).log_softmax(dim=-1)
        taught = teacher.frozen(teacher.states[theirs]).log_softmax(dim=-1)
        back = _kl(taught.detach(), in_theirs).sum()
        return (hard + soft + back) / tokens


def _scores(
    student: Space,
    teacher: Space,
    counted: tuple[Mask, Mask],
    network: Projectors,
) -> Tensor:
    """[B, T, U] how well each token of the teacher answers each of the student; very little where
    one of them does not count.
    """
    ours, theirs = counted
    asks = torch.cat([student.inputs, student.targets], dim=-1).detach()
    keys = torch.cat([teacher.inputs, teacher.targets], dim=-1).detach()
    scores: Tensor = network.query(asks) @ _scaled(keys, theirs).mT
    # The keys are twice as wide as the teacher's states.
    scores = scores / math.sqrt(keys.shape[-1])
    both = ours[:, :, None] & theirs[:, None, :]
    return scores.masked_fill(~both, -1e5)


def _scaled(states: HiddenStates, counted: Mask) -> HiddenStates:
    """States over their standard deviation where they count, without a gradient."""
    fixed = states.detach()
    least = torch.finfo(fixed.dtype).eps
    return fixed / fixed[counted].std().clamp(min=least)


def _kl(one: Tensor, two: Tensor) -> Tensor:
    """[N] KL of log-probabilities [N, V]."""
    gap = one - two
    return torch.mul(one.exp(), gap).sum(dim=-1)
