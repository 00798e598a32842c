"""Losses across tokenizers: texts aligned by their bytes, tokens of a group merged by the chain
rule, a tile of groups at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from finetune.losses.base import Loss, log_softmax_, precise

# Groups in work at a time; each needs some six rows of the vocabularies for sorting.
ROWS = 16
# (student's tokens, teacher's tokens) of a stretch of text where both end: places in the row, the
# last of each predicts the end.
Group = tuple[Sequence[int], Sequence[int]]


def align(
    student_ends: Sequence[int], teacher_ends: Sequence[int]
) -> list[tuple[range, range]]:
    """Groups of tokens between the offsets at which tokens of both sides end.

    Args:
        student_ends: offset in bytes (or characters) behind each token, never falling.
        teacher_ends: likewise, of the same text.

    Returns:
        For each group the student's and the teacher's token numbers. A character that is spelt in
        several tokens ends with the last.

    >>> align([2, 5, 9], [5, 7, 9])
    [(range(0, 2), range(0, 1)), (range(2, 3), range(1, 3))]
    """
    found = []
    before = (0, 0)
    after = {end: number + 1 for number, end in enumerate(teacher_ends)}
    last = {end: number + 1 for number, end in enumerate(student_ends)}
    for end, number in last.items():
        if end in after and number > before[0] and after[end] > before[1]:
            found.append(
                (range(before[0], number), range(before[1], after[end]))
            )
            before = (number, after[end])
    return found


@dataclass(frozen=True)
class Side:
    """One model's part in the groups of a batch.

    Attributes:
        say: flat places [n] -> logits [n, V].
        ends: [G] flat place that predicts each group's last token.
        earlier: (group, flat place, token id) of the tokens of groups before their last.
    """

    say: Callable[[Any], Any]
    ends: Any
    earlier: Sequence[tuple[int, int, int]]


class CrossLoss(Loss):
    """A mean over sequences of means over groups of a value of two merged distributions, which need
    not be of one vocabulary.

    A group's distribution is that of its last token, times the probability of the tokens before it
    (the chain rule): it is that of the whole stretch of text, for those that begin alike, and does
    not sum to 1 where there are several tokens.
    """

    same_tokenizer: ClassVar[bool] = False

    @abstractmethod
    def merged(self, student: Any, teacher: Any) -> tuple[Any, Any]:
        """Value of each row and its derivative with regard to the student's probabilities.

        Args:
            student: [N, V] merged probabilities.
            teacher: [N, W].
        """

    def __call__(
        self,
        student_logits: Any,
        teacher_logits: Any,
        mask: Any,
        *,
        labels: Any = None,
        denominator: float | None = None,
        teacher_mask: Any = None,
        teacher_labels: Any = None,
        groups: Sequence[Sequence[Group]] | None = None,
    ) -> Any:
        """The loss.

        Args:
            student_logits: [B, T, V], already shifted.
            teacher_logits: [B, U, W] of the teacher's own tokens, already shifted.
            mask: [B, T], True where a token counts.
            labels: [B, T] token ids, where groups have more than one token.
            denominator: sequences of the larger batch; None for B.
            teacher_mask: [B, U]; None for `mask`.
            teacher_labels: [B, U], like `labels`.
            groups: of each sequence, as places in T and U; None pairs the k-th counted token of one
                with the k-th of the other.

        Raises:
            ValueError: shapes that do not fit, groups of several tokens without labels.
        """
        if (
            student_logits.dim() != 3
            or student_logits.shape[:2] != mask.shape
            or len(student_logits) != len(teacher_logits)
        ):
            raise ValueError(
                f"{type(self).__name__}: student {tuple(student_logits.shape)}, mask "
                f"{tuple(mask.shape)}, teacher "
                f"{tuple(teacher_logits.shape)}; use [B, T, V], [B, T] and [B, U, W]"
            )
        if groups is None:
            other = mask if teacher_mask is None else teacher_mask
            groups = positional(mask, other)
        return _Dense.apply(
            student_logits,
            teacher_logits,
            (self, groups, labels, teacher_labels, denominator),
        )


def positional(mask: Any, other: Any) -> list[list[Group]]:
    """The k-th counted token of one side with the k-th of the other, as long as both last."""
    groups: list[list[Group]] = []
    for row, other_row in zip(mask.bool(), other.bool(), strict=True):
        ours = row.nonzero()[:, 0].tolist()
        theirs = other_row.nonzero()[:, 0].tolist()
        groups.append([([a], [b]) for a, b in zip(ours, theirs, strict=False)])
    return groups


def sides_of(
    groups: Sequence[Sequence[Group]],
) -> tuple[list[list[Sequence[int]]], list[list[Sequence[int]]]]:
    """The student's token places of each group of each sequence, and the teacher's."""
    ours: list[list[Sequence[int]]] = []
    theirs: list[list[Sequence[int]]] = []
    for row in groups:
        ours.append([group[0] for group in row])
        theirs.append([group[1] for group in row])
    return ours, theirs


def _moved(places: Sequence[int], by: int) -> list[int]:
    return [place + by for place in places]


def side(
    say: Callable[[Any], Any],
    rows: Sequence[Sequence[Sequence[int]]],
    length: int,
    labels: Any,
    device: Any,
) -> Side:
    """The part of one model: its token places of each group of each sequence, in sequences of so
    many tokens.
    """
    flat: list[list[int]] = []
    for row, groups in enumerate(rows):
        flat.extend(_moved(places, row * length) for places in groups)
    earlier = [
        (number, place)
        for number, places in enumerate(flat)
        for place in places[:-1]
    ]
    if earlier and labels is None:
        raise ValueError(
            "groups of several tokens need labels= and teacher_labels="
        )
    named = [] if labels is None else labels.reshape(-1)
    return Side(
        say,
        torch.tensor(
            [places[-1] for places in flat], dtype=torch.long, device=device
        ),
        [(number, place, int(named[place])) for number, place in earlier],
    )


def crossing(
    loss: CrossLoss,
    student: Side,
    teacher: Side,
    weights: Any,
    sink: Callable[[Any, Any], None] | None,
) -> Any:
    """Sum of weight times value over the groups, their gradients handed to `sink(flat places [n],
    slopes [n, V])`.

    Args:
        loss: gives values of merged distributions.
        student: its part.
        teacher: its part.
        weights: [G].
        sink: adds gradients; a place may come more than once. None where no gradient is wanted.
    """
    before, other = (_before(part, len(weights)) for part in (student, teacher))
    total = torch.zeros((), dtype=torch.float64, device=weights.device)
    upstream = torch.zeros(
        len(weights), dtype=weights.dtype, device=weights.device
    )
    for part in torch.arange(len(weights), device=weights.device).split(ROWS):
        ps, pt = (
            _probabilities(p.say(p.ends[part])) for p in (student, teacher)
        )
        ours, theirs = (
            known[part, None].exp().to(ps.dtype) for known in (before, other)
        )
        values, slope = loss.merged(ps * ours, pt * theirs)
        total += (values * weights[part]).sum(dtype=torch.float64)
        if sink is not None:
            slope.mul_(ours * weights[part, None])
            mean = torch.einsum("nv,nv->n", ps, slope)
            upstream[part] = mean  # the derivative by ln of the factor
            sink(student.ends[part], slope.sub_(mean[:, None]).mul_(ps))
    if sink is not None:
        _back(student, upstream, sink)
    return total


def _probabilities(logits: Any) -> Any:
    logits = logits.clone()
    found = torch.empty_like(logits)
    log_softmax_(logits, found)
    return found


def _before(part: Side, count: int) -> Any:
    """[G] ln of the probability of the tokens before each group's last."""
    found = torch.zeros(count, dtype=torch.float64, device=part.ends.device)
    for at in range(0, len(part.earlier), ROWS):
        groups, places, tokens = (
            torch.tensor(column, device=part.ends.device)
            for column in zip(*part.earlier[at : at + ROWS], strict=True)
        )
        logs = (
            part.say(places)
            .log_softmax(dim=-1)
            .gather(1, tokens[:, None])[:, 0]
        )
        found.index_add_(0, groups, logs.double())
    return found


def _back(part: Side, upstream: Any, sink: Callable[[Any, Any], None]) -> None:
    """What the tokens before the last get: each multiplies its group's probabilities."""
    for at in range(0, len(part.earlier), ROWS):
        groups, places, tokens = (
            torch.tensor(column, device=part.ends.device)
            for column in zip(*part.earlier[at : at + ROWS], strict=True)
        )
        slope = -_probabilities(part.say(places))
        slope.scatter_add_(1, tokens[:, None], torch.ones_like(slope[:, :1]))
        sink(places, slope.mul_(upstream[groups, None].to(slope.dtype)))


def weights_of(
    groups: Sequence[Sequence[Group]],
    denominator: float | None,
    like: Any,
    dtype: Any,
) -> Any:
    """[G] 1 / (groups of the sequence x sequences)."""
    sequences = (
        float(denominator)
        if denominator is not None
        else float(max(1, len(groups)))
    )
    return torch.tensor(
        [1 / (len(row) * sequences) for row in groups for _ in row],
        dtype=dtype,
        device=like.device,
    )


class _Dense(torch.autograd.Function):  # type: ignore[misc]
    """Value and gradient of whole logits in one pass."""

    @staticmethod
    def forward(ctx: Any, student: Any, teacher: Any, given: Any) -> Any:
        loss, groups, labels, teacher_labels, denominator = given
        dtype = precise(student.dtype)
        flat, other = (
            x.detach().reshape(-1, x.shape[-1]) for x in (student, teacher)
        )
        ours, theirs = sides_of(groups)
        one = side(
            lambda at: flat[at].to(dtype),
            ours,
            student.shape[1],
            labels,
            flat.device,
        )
        two = side(
            lambda at: other[at].to(dtype),
            theirs,
            teacher.shape[1],
            teacher_labels,
            flat.device,
        )
        gradient = (
            torch.zeros(flat.shape, dtype=dtype, device=flat.device)
            if ctx.needs_input_grad[0]
            else None
        )
        sink = (
            None
            if gradient is None
            else lambda at, slope: gradient.index_add_(0, at, slope)
        )
        total = crossing(
            loss, one, two, weights_of(groups, denominator, flat, dtype), sink
        )
        ctx.save_for_backward(gradient)
        ctx.shape = student.shape
        ctx.dtype = student.dtype
        return total.to(dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return (
            None
            if gradient is None
            else (gradient * upstream).to(ctx.dtype).reshape(ctx.shape),
            None,
            None,
        )
