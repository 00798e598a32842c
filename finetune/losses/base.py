"""The contract of a loss, and the one place where token losses meet masks, weights, temperature and
precision.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from finetune.core.libraries import GradientContext
from finetune.core.tensors import (
    LabelLogProbs,
    Labels,
    Logits,
    Mask,
    RowLabels,
    RowLogits,
    RowLogProbs,
    RowProbabilities,
    RowValues,
    Scalar,
    ValuesAndSlopes,
)

# Log-probabilities end here, so that a logit of -inf costs much but not everything: values and
# gradients stay finite.
FLOOR = -1e4
# Rows of logits in work at a time: 64 x 151,936 x 4 bytes are 39 MB a buffer.
ROWS = 64


# What a loss compares: logits, or a sequence of layers, exits or relations.
Compared_contra = TypeVar("Compared_contra", contravariant=True)
# The same, as a trainer must know it: states of a pair of layers, filtered states of several pairs,
# attention maps of several layers, queries, keys and values of a pair of layers, logits of several
# layers of the student.
Compares = Literal["logits", "states", "filtered", "maps", "relations", "exits"]


class Loss(ABC, Generic[Compared_contra]):
    """A scalar of what student and teacher say about the same tokens.

    Attributes:
        divergence: zero where both agree and never negative.
        same_tokenizer: row v of both logits is the same token.
        needs: names of keyword arguments that a call must have besides logits and mask, such as
            `labels`.
        reweighs: a mean over sequences of sums over tokens, whose weights (`reweighed`) come from
            the teacher's own losses on the labels.
        compares: what a call gets in the place of logits.
        couples: it relates the samples of a batch to each other, so that a part of a larger batch
            has no share of that batch's loss: `denominator` is not looked at.
    """

    divergence: ClassVar[bool] = True
    compares: ClassVar[Compares] = "logits"
    couples: ClassVar[bool] = False
    same_tokenizer: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ()
    reweighs: ClassVar[bool] = False

    def network(self, student: int, teacher: int) -> nn.Module | None:  # noqa: ARG002
        """New weights that a loss of logits learns beside the student and is handed at each call;
        None where it learns none.

        Args:
            student: width of its hidden states.
            teacher: width of its hidden states.
        """
        return None

    @property
    def of_two_authors(self) -> bool:
        """Whether it sets texts of the teacher against texts of the student."""
        return "by_teacher" in self.needs

    def at(self, done: float) -> Self:  # noqa: ARG002
        """The loss where a share `done` (0 to 1) of a training is behind; itself, unless it
        moves.
        """
        return self

    @abstractmethod
    def __call__(
        self,
        student_logits: Compared_contra,
        teacher_logits: Compared_contra,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
    ) -> Scalar:
        """The loss, a scalar; `denominator` are the tokens (or sequences) of a larger batch that
        this one is a part of.
        """


@dataclass(frozen=True, kw_only=True)
class TokenLoss(Loss[Logits]):
    """A loss that is a mean over tokens, each with a value and a gradient of its own.

    Args:
        temperature: above 0; both logits are divided by it. There is no factor of its square.

    Attributes:
        parts: it is defined over any partition of the vocabulary, so that a teacher who is known in
            part can teach by it: what is not known is one part. It then depends on probabilities
            alone, not on labels or on how many tokens there are.
    """

    temperature: float = 1.0

    parts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_temperature(self.temperature)

    def reweighed(
        self,
        teacher_losses: LabelLogProbs,  # noqa: ARG002
        mask: Mask,
    ) -> Mask:
        """[B, T] weights of the tokens, where the loss reweighs them.

        Args:
            teacher_losses: [B, T] negative log-likelihood of the labels under the teacher.
            mask: [B, T].
        """
        return mask

    @abstractmethod
    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,
    ) -> ValuesAndSlopes:
        """Value of each row in nats, and its gradient with regard to the student's logits.

        Args:
            student: [N, V] logits at the temperature, fp32 or fp64; may be overwritten, and may
                become the gradient.
            teacher: [N, V], likewise.
            labels: [N] token ids, for losses that need them.

        Returns:
            (values [N], gradient [N, V]).
        """

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
    ) -> Scalar:
        """The mean over the counted tokens.

        Args:
            student_logits: [B, T, V], already shifted: row k predicts token k.
            teacher_logits: [B, T, V]; no gradient goes there.
            mask: [B, T]; True where a token counts. Numbers are weights: they multiply values, and
                a token of weight 0 does not count.
            labels: [B, T] token ids, for losses that need them; ids where the mask is False are not
                looked at.
            denominator: tokens to divide by, where this is part of a larger batch; None for the
                tokens that count here.

        Raises:
            ValueError: shapes that do not fit, or no labels where they are needed.
        """
        check(self, student_logits, teacher_logits, mask, labels=labels)
        dense: Callable[..., Scalar] = _Dense.apply
        counted = _Counted(self, mask, labels, denominator)
        return dense(student_logits, teacher_logits, counted)


@dataclass(frozen=True, kw_only=True)
class Divergence(TokenLoss):
    """A token loss over probabilities."""

    parts: ClassVar[bool] = True

    @abstractmethod
    def diverge(
        self,
        ls: RowLogProbs,
        ps: RowProbabilities,
        lt: RowLogProbs,
        pt: RowProbabilities,
    ) -> ValuesAndSlopes:
        """Value of each row and its gradient, as in `rows`, from log-probabilities and
        probabilities [N, V]; all may be overwritten.
        """

    def rows(
        self,
        student: RowLogits,
        teacher: RowLogits,
        labels: RowLabels | None = None,  # noqa: ARG002
    ) -> ValuesAndSlopes:
        """Normalises both sides once."""
        ps = spare("ps", student)
        pt = spare("pt", teacher)
        return self.diverge(
            log_softmax_(student, ps), ps, log_softmax_(teacher, pt), pt
        )


def log_softmax_(
    logits: RowLogits, probabilities: RowProbabilities
) -> RowLogProbs:
    """Logits [N, V] become log-probabilities in place, and fill a second buffer with probabilities:
    one exponential for both.
    """
    if torch.compiler.is_compiling():
        return _log_softmax_compiled(logits, probabilities)
    total = torch.exp(finite_(logits), out=probabilities).sum(
        dim=-1, keepdim=True
    )
    total.clamp_(
        min=torch.finfo(logits.dtype).tiny
    )  # 1 or more, but 0 for a row that is -inf throughout
    probabilities.div_(total)
    return logits.sub_(total.log())


def _log_softmax_compiled(
    logits: RowLogits, probabilities: RowProbabilities
) -> RowLogProbs:
    """The same in the form that inductor knows as a softmax, which takes largest and total in one
    pass; the exponential costs it less than a division.
    """
    largest = logits.amax(dim=-1, keepdim=True)
    total = torch.exp(logits - largest).sum(dim=-1, keepdim=True)
    # Finite in a row that is -inf throughout, whose total is no number.
    least = torch.finfo(logits.dtype).min
    scale = largest.clamp(min=least) + total.nan_to_num(nan=1.0).log()
    log_probs = (logits - scale).clamp(min=FLOOR)
    probabilities.copy_(log_probs.exp())
    return log_probs


def finite_(logits: RowLogits) -> RowLogits:
    """Logits [N, V] in place as distances from each row's largest, none below FLOOR: what softmax
    sees is the same.
    """
    largest = logits.amax(dim=-1, keepdim=True).clamp(
        min=torch.finfo(logits.dtype).min
    )
    return logits.sub_(largest).clamp_(min=FLOOR)


_workspace = threading.local()
# A buffer's name, type and device.
Slot = tuple[str, torch.dtype, torch.device]


@contextmanager
def reused_buffers() -> Iterator[None]:
    """Within it `spare` gives the same memory again: fresh pages for every tile cost a CPU a sixth
    of a step's time.
    """
    outer = getattr(_workspace, "buffers", None)
    _workspace.buffers = {}
    try:
        yield
    finally:
        _workspace.buffers = outer


def spare(slot: str, like: Tensor) -> Tensor:
    """An empty tensor like another one; within `reused_buffers` what this slot held before is
    gone.
    """
    if torch.compiler.is_compiling():
        # A compiler plans its own buffers.
        return torch.empty_like(like)
    buffers: dict[Slot, Tensor] | None = getattr(_workspace, "buffers", None)
    if buffers is None:
        return torch.empty_like(like)
    key = (slot, like.dtype, like.device)
    if key not in buffers or buffers[key].numel() < like.numel():
        buffers[key] = torch.empty(
            like.numel(), dtype=like.dtype, device=like.device
        )
    return buffers[key][: like.numel()].view(like.shape)


def label_logs(logits: Logits, labels: Labels | None) -> LabelLogProbs:
    """[B, T] log-probability of each label under logits [B, T, V], in fp32 or better; ids below 0
    are read as 0 and must be masked.
    """
    log_probs = logits.to(precise(logits.dtype)).log_softmax(dim=-1)
    ids = required("labels", labels).long().clamp(min=0)
    return log_probs.gather(2, ids[:, :, None])[:, :, 0]


def require_temperature(temperature: float) -> None:
    """Refuses what no logits can be divided by.

    Raises:
        ValueError: it is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}; use one above 0")


def required(name: str, value: Tensor | None) -> Tensor:
    """What a loss cannot do without.

    Raises:
        ValueError: it was not given.
    """
    if value is None:
        raise ValueError(f"this loss needs {name}=")
    return value


def divisor_of(denominator: float | None, count: int | Tensor) -> float:
    """What a sum over so many is divided by: the denominator of a larger batch where there is one,
    else the count, at least 1.
    """
    if denominator is not None:
        return float(denominator)
    return float(max(1, int(count)))


def dot(one: Tensor, two: Tensor) -> RowValues:
    """[N] inner products of rows."""
    return torch.mul(one, two, out=spare("dot", one)).sum(dim=-1)


def precise(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in: fp64 stays, all else becomes fp32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check(
    loss: Loss[Logits] | Loss[Sequence[Logits]],
    student: Logits,
    teacher: Logits,
    mask: Mask,
    **more: object,
) -> None:
    """Refuses shapes that do not fit, and calls without what a loss needs.

    Raises:
        ValueError: with what was found and wanted.
    """
    name = type(loss).__name__
    if student.dim() != 3 or student.shape[:2] != mask.shape:
        raise ValueError(
            f"{name}: student {tuple(student.shape)} and mask {tuple(mask.shape)}; use [B, T, V] "
            "and [B, T] of the same B and T"
        )
    if loss.same_tokenizer and student.shape != teacher.shape:
        raise ValueError(
            f"{name}: student {tuple(student.shape)}, teacher {tuple(teacher.shape)}; both must "
            "be [B, T, V] of one vocabulary. Cut padded "
            "vocabularies to the tokenizer's size; for different tokenizers use uld or hybrid"
        )
    for need in loss.needs:
        if more.get(need) is None:
            raise ValueError(f"{name} needs {need}=")


class _Counted(NamedTuple):
    """What counts in a batch, and how: none of it gets a gradient."""

    loss: TokenLoss
    mask: Mask
    labels: Labels | None
    denominator: float | None


class _Dense(torch.autograd.Function):
    """Value and gradient in one pass over the counted tokens; no graph over [B, T, V] is ever
    built.
    """

    @staticmethod
    def forward(
        ctx: GradientContext,
        student: Logits,
        teacher: Logits,
        counted: _Counted,
    ) -> Scalar:
        loss, mask, labels, denominator = counted
        dtype = precise(student.dtype)
        size = student.shape[-1]
        student_rows = student.reshape(-1, size)
        teacher_rows = teacher.detach().reshape(-1, size)
        row_labels = None if labels is None else labels.reshape(-1)
        weights = mask.reshape(-1).to(dtype)
        positions = weights.nonzero()[:, 0]
        divisor = divisor_of(denominator, len(positions))
        gradient = (
            torch.zeros_like(student_rows) if ctx.needs_input_grad[0] else None
        )
        total = torch.zeros((), dtype=torch.float64, device=student.device)
        for part in torch.split(positions, ROWS):
            values, slope = loss.rows(
                student_rows[part].to(dtype).div_(loss.temperature),
                teacher_rows[part].to(dtype).div_(loss.temperature),
                None if row_labels is None else row_labels[part],
            )
            total += (values * weights[part]).sum(dtype=torch.float64)
            if gradient is not None:
                # The logits were divided by the temperature, so their gradient is too.
                scale = weights[part, None] / (divisor * loss.temperature)
                gradient[part] = slope.mul_(scale).to(gradient.dtype)
        ctx.save_for_backward(gradient)
        ctx.shape = student.shape
        return (total / divisor).to(dtype)

    @staticmethod
    def backward(
        ctx: GradientContext, upstream: Scalar
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        if gradient is None:
            return None, None, None
        of_logits = gradient * upstream.to(gradient.dtype)
        return of_logits.reshape(ctx.shape), None, None
