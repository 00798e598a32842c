"""Losses across tokenizers: texts aligned by their bytes, tokens of a group merged by the chain
rule, a tile of groups at a time.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from finetune.core.libraries import GradientContext
from finetune.core.tensors import (
    Labels,
    Logits,
    Mask,
    Positions,
    RowLabels,
    RowLogits,
    RowProbabilities,
    RowSlopes,
    RowValues,
    Scalar,
    ValuesAndSlopes,
)
from finetune.losses.base import (
    Loss,
    divisor_of,
    log_softmax_,
    precise,
    require_temperature,
)

# Groups in work at a time; each needs some six rows of the vocabularies for sorting.
ROWS = 16
# (student's tokens, teacher's tokens) of a stretch of text where both end: positions in the row,
# the last of each predicts the end.
Group = tuple[Sequence[int], Sequence[int]]
# Positions in the flat batch -> their logits.
LogitsAt = Callable[[Positions], RowLogits]
# Takes the slopes of some positions; a position may come more than once.
Sink = Callable[[Positions, RowSlopes], object]
# Both sides' token positions of each group of each sequence.
TokenPositions = list[list[Sequence[int]]]


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
    groups = []
    # Tokens of either side that stand in groups already.
    ours, theirs = 0, 0
    # How many tokens end by an offset.
    teacher_counts = {end: n for n, end in enumerate(teacher_ends, 1)}
    student_counts = {end: n for n, end in enumerate(student_ends, 1)}
    for end, own in student_counts.items():
        other = teacher_counts.get(end, 0)
        if own > ours and other > theirs:
            groups.append((range(ours, own), range(theirs, other)))
            ours, theirs = own, other
    return groups


@dataclass(frozen=True)
class Side:
    """One model's part in the groups of a batch.

    Attributes:
        logits_at: flat positions [n] -> logits [n, V].
        ends: [G] flat position that predicts each group's last token.
        earlier: (group, flat position, token id) of the tokens of groups before their last.
    """

    logits_at: LogitsAt
    ends: Positions
    earlier: Sequence[tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class CrossLoss(Loss[Logits]):
    """A mean over sequences of means over groups of a value of two merged distributions, which need
    not be of one vocabulary.

    A group's distribution is that of its last token, times the probability of the tokens before it
    (the chain rule): it is that of the whole stretch of text, for those that begin alike, and does
    not sum to 1 where there are several tokens.

    Args:
        temperature: above 0; the logits of all tokens on both sides are divided by it. There is no
            factor of its square.
    """

    temperature: float = 1.0

    same_tokenizer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_temperature(self.temperature)

    @abstractmethod
    def merged(
        self, student: RowProbabilities, teacher: RowProbabilities
    ) -> ValuesAndSlopes:
        """Value of each row and its derivative with regard to the student's probabilities.

        Args:
            student: [N, V] merged probabilities.
            teacher: [N, W].
        """

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
        teacher_mask: Mask | None = None,
        teacher_labels: Labels | None = None,
        groups: Sequence[Sequence[Group]] | None = None,
    ) -> Scalar:
        """The loss.

        Args:
            student_logits: [B, T, V], already shifted.
            teacher_logits: [B, U, W] of the teacher's own tokens, already shifted.
            mask: [B, T], True where a token counts.
            labels: [B, T] token ids, where groups have more than one token.
            denominator: sequences of the larger batch; None for B.
            teacher_mask: [B, U]; None for `mask`.
            teacher_labels: [B, U], like `labels`.
            groups: of each sequence, as positions in T and U; None pairs the k-th counted token of
                one with the k-th of the other.

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
        dense: Callable[..., Scalar] = _Dense.apply
        return dense(
            student_logits,
            teacher_logits,
            _Crossed(self, groups, labels, teacher_labels, denominator),
        )


def positional(mask: Mask, other: Mask) -> list[list[Group]]:
    """The k-th counted token of one side with the k-th of the other, as long as both last."""
    groups: list[list[Group]] = []
    for row, other_row in zip(mask.bool(), other.bool(), strict=True):
        ours = row.nonzero()[:, 0].tolist()
        theirs = other_row.nonzero()[:, 0].tolist()
        pairs = zip(ours, theirs, strict=False)
        groups.append([([own], [other]) for own, other in pairs])
    return groups


def sides_of(
    groups: Sequence[Sequence[Group]],
) -> tuple[TokenPositions, TokenPositions]:
    """The student's token positions of each group of each sequence, and the teacher's."""
    ours: TokenPositions = []
    theirs: TokenPositions = []
    for row in groups:
        ours.append([group[0] for group in row])
        theirs.append([group[1] for group in row])
    return ours, theirs


def _moved(positions: Sequence[int], by: int) -> list[int]:
    return [position + by for position in positions]


def side(
    logits_at: LogitsAt,
    rows: Sequence[Sequence[Sequence[int]]],
    length: int,
    labels: Labels | None,
    device: torch.device,
) -> Side:
    """The part of one model: its token positions of each group of each sequence, in sequences of so
    many tokens.
    """
    groups: list[list[int]] = []
    for row, of_row in enumerate(rows):
        groups.extend(_moved(group, row * length) for group in of_row)
    earlier: list[tuple[int, int]] = []
    for number, group in enumerate(groups):
        earlier.extend((number, position) for position in group[:-1])
    if earlier and labels is None:
        raise ValueError(
            "groups of several tokens need labels= and teacher_labels="
        )
    ends = [group[-1] for group in groups]
    ids: Sequence[int] | RowLabels = ()
    if labels is not None:
        ids = labels.reshape(-1)
    return Side(
        logits_at,
        torch.tensor(ends, dtype=torch.long, device=device),
        [
            (number, position, int(ids[position]))
            for number, position in earlier
        ],
    )


def crossing(
    loss: CrossLoss,
    student: Side,
    teacher: Side,
    weights: RowValues,
    sink: Sink | None,
) -> Scalar:
    """Sum of weight times value over the groups, their gradients handed to `sink(flat positions
    [n], slopes [n, V])`.

    Args:
        loss: gives values of merged distributions.
        student: its part.
        teacher: its part.
        weights: [G].
        sink: adds gradients; a position may come more than once. None where no gradient is wanted.
    """
    heat = loss.temperature
    if heat != 1:
        student, teacher = (_heated(side, heat) for side in (student, teacher))
        sink = None if sink is None else _cooled(sink, heat)
    count = len(weights)
    device = weights.device
    student_before = _before(student, count)
    teacher_before = _before(teacher, count)
    total = torch.zeros((), dtype=torch.float64, device=device)
    upstream = torch.zeros(count, dtype=weights.dtype, device=device)
    for part in torch.split(torch.arange(count, device=device), ROWS):
        ps = _probabilities(student.logits_at(student.ends[part]))
        pt = _probabilities(teacher.logits_at(teacher.ends[part]))
        # The chain rule: what stood before the last token multiplies its whole distribution.
        ours = student_before[part, None].exp().to(ps.dtype)
        theirs = teacher_before[part, None].exp().to(ps.dtype)
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


def _heated(side: Side, temperature: float) -> Side:
    """One model's part, its logits at a temperature."""
    cold = side.logits_at
    return replace(
        side, logits_at=lambda positions: cold(positions) / temperature
    )


def _cooled(sink: Sink, temperature: float) -> Sink:
    """Takes slopes of logits at a temperature as those of the logits themselves."""
    return lambda positions, slope: sink(positions, slope.div_(temperature))


def _probabilities(logits: RowLogits) -> RowProbabilities:
    logits = logits.clone()
    probabilities = torch.empty_like(logits)
    log_softmax_(logits, probabilities)
    return probabilities


def _earlier_parts(side: Side) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(groups [n], flat positions [n], token ids [n]) of the tokens before the last, a tile at a
    time.
    """
    device = side.ends.device
    for start in range(0, len(side.earlier), ROWS):
        columns = zip(*side.earlier[start : start + ROWS], strict=True)
        groups, positions, tokens = (
            torch.tensor(column, device=device) for column in columns
        )
        yield groups, positions, tokens


def _before(side: Side, count: int) -> RowValues:
    """[G] ln of the probability of the tokens before each group's last."""
    logs = torch.zeros(count, dtype=torch.float64, device=side.ends.device)
    for groups, positions, tokens in _earlier_parts(side):
        log_probs = side.logits_at(positions).log_softmax(dim=-1)
        chosen = log_probs.gather(1, tokens[:, None])[:, 0]
        logs.index_add_(0, groups, chosen.double())
    return logs


def _back(side: Side, upstream: RowValues, sink: Sink) -> None:
    """What the tokens before the last get: each multiplies its group's probabilities."""
    for groups, positions, tokens in _earlier_parts(side):
        slope = -_probabilities(side.logits_at(positions))
        slope.scatter_add_(1, tokens[:, None], torch.ones_like(slope[:, :1]))
        sink(positions, slope.mul_(upstream[groups, None].to(slope.dtype)))


def weights_of(
    groups: Sequence[Sequence[Group]],
    denominator: float | None,
    dtype: torch.dtype,
    device: torch.device,
) -> RowValues:
    """[G] 1 / (groups of the sequence x sequences)."""
    sequences = divisor_of(denominator, len(groups))
    weights: list[float] = []
    for row in groups:
        weights.extend(1 / (len(row) * sequences) for _ in row)
    return torch.tensor(weights, dtype=dtype, device=device)


class _Crossed(NamedTuple):
    """What is crossed in a batch: none of it gets a gradient."""

    loss: CrossLoss
    groups: Sequence[Sequence[Group]]
    labels: Labels | None
    teacher_labels: Labels | None
    denominator: float | None


class _Dense(torch.autograd.Function):
    """Value and gradient of whole logits in one pass."""

    @staticmethod
    def forward(
        ctx: GradientContext,
        student: Logits,
        teacher: Logits,
        crossed: _Crossed,
    ) -> Scalar:
        loss, groups, labels, teacher_labels, denominator = crossed
        dtype = precise(student.dtype)
        student_rows = student.detach().reshape(-1, student.shape[-1])
        teacher_rows = teacher.detach().reshape(-1, teacher.shape[-1])
        device = student_rows.device
        ours, theirs = sides_of(groups)
        sides = (
            side(
                lambda positions: student_rows[positions].to(dtype),
                ours,
                student.shape[1],
                labels,
                device,
            ),
            side(
                lambda positions: teacher_rows[positions].to(dtype),
                theirs,
                teacher.shape[1],
                teacher_labels,
                device,
            ),
        )
        gradient = None
        sink: Sink | None = None
        if ctx.needs_input_grad[0]:
            gradient = torch.zeros(
                student_rows.shape, dtype=dtype, device=device
            )
            sink = functools.partial(gradient.index_add_, 0)
        weights = weights_of(groups, denominator, dtype, device)
        total = crossing(loss, *sides, weights, sink)
        ctx.save_for_backward(gradient)
        ctx.shape = student.shape
        ctx.dtypes = (student.dtype,)
        return total.to(dtype)

    @staticmethod
    def backward(
        ctx: GradientContext, upstream: Scalar
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        if gradient is None:
            return None, None, None
        of_logits = (gradient * upstream).to(ctx.dtypes[0])
        return of_logits.reshape(ctx.shape), None, None
