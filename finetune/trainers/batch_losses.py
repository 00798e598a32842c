"""What each kind of loss makes of one batch of a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from finetune.core.tensors import (
    HiddenStates,
    Inputs,
    LabelLogProbs,
    Labels,
    Logits,
    Mask,
    PerSequence,
    Positions,
    RowLogits,
    Scalar,
)
from finetune.data.tokens import IGNORED
from finetune.generation.mixtures import mixed
from finetune.kernels.features import Features
from finetune.kernels.fused import Fused, fused
from finetune.kernels.fused_crossing import TeacherSide, fused_crossing
from finetune.kernels.heads import Head, dense
from finetune.losses.base import Loss, TokenLoss
from finetune.losses.base_crossing import CrossLoss
from finetune.losses.base_parts import TeacherAt, whole
from finetune.losses.contrastive import Contrastive
from finetune.losses.dpkd_texts import DpkdTexts
from finetune.losses.dskd import Dskd
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.minillm import Minillm
from finetune.losses.multi_exit import MultiExit
from finetune.losses.reverse_kl import ReverseKl
from finetune.teachers.across_tokenizers import (
    AcrossTeacher,
    CrossTeacher,
    space_of,
)
from finetune.teachers.in_process import label_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as student and teacher read it, shifted: place k predicts token k.

    Attributes:
        hidden: [B, T, H] states of the student.
        head: the student's.
        labels: [B, T], -100 where nothing is learnt.
        says: the teacher, by flat places; None where none is asked.
        ours: what the student shows of its inside.
        theirs: what the teacher shows.
        trust: [B, T] how much the teacher counts; None for 1.
        divisor: tokens of the whole step on all processes; None for those of this batch.
        parts: batches of the step on all processes: what a mean over sequences is divided by.
    """

    hidden: HiddenStates
    head: Head
    labels: Labels
    says: TeacherAt | None
    ours: Features
    theirs: Features
    trust: Mask | None
    divisor: float | None
    parts: int

    @property
    def mask(self) -> Mask:
        """[B, T] what is learnt."""
        return self.labels != IGNORED

    @property
    def teacher(self) -> TeacherAt:
        """The teacher, for losses that ask one: the recipe refuses them without."""
        assert self.says is not None  # noqa: S101 - as said above
        return self.says

    def own(self, positions: Positions) -> RowLogits:
        """The student's logits at flat places, without a gradient."""
        states = self.hidden.detach().reshape(-1, self.hidden.shape[-1])
        return self.head.logits(states[positions]).detach()

    def fused(
        self,
        loss: TokenLoss,
        *,
        hidden: HiddenStates | None = None,
        says: TeacherAt | None = None,
        mask: Mask | None = None,
        denominator: float | None = None,
        **weights: Any,
    ) -> Fused:
        """`kernels.fused` over this batch, or over other states, another teacher or other weights
        of its tokens.
        """
        return fused(
            loss,
            self.hidden if hidden is None else hidden,
            self.head,
            says,
            self.mask if mask is None else mask,
            labels=self.labels.clamp(min=0),
            denominator=self.divisor if denominator is None else denominator,
            **weights,
        )


def of_tokens(
    loss: TokenLoss, batch: Batch, strength: float, likelihood: float
) -> Fused:
    """Strength x loss + likelihood x cross-entropy; a loss that reweighs tokens is a mean over
    sequences, without a likelihood.
    """
    mask = batch.mask
    denominator = batch.divisor
    if loss.reweighs:
        losses = label_losses(batch.teacher, batch.labels)
        mask = loss.reweighed(losses, mask)
        denominator = float(len(mask) * batch.parts)
    return batch.fused(
        loss,
        says=batch.teacher,
        mask=mask,
        denominator=denominator,
        strength=strength,
        likelihood=likelihood,
        trust=batch.trust,
    )


def cross_entropy(batch: Batch, weight: float) -> Fused:
    """The likelihood alone."""
    return batch.fused(ForwardKl(), likelihood=weight)


def likelihood_of(hidden: HiddenStates, head: Head, labels: Labels) -> Scalar:
    """Mean negative log-likelihood of shifted labels [B, T], in nats a token, with a gradient.

    Args:
        hidden: [B, T, H] shifted states.
        head: that reads them.
        labels: -100 where none is counted.
    """
    found = fused(
        ForwardKl(),
        hidden,
        head,
        None,
        labels != IGNORED,
        labels=labels.clamp(min=0),
        likelihood=1.0,
    )
    return found.total


def of_exits(
    loss: MultiExit, batch: Batch, exits: Sequence[HiddenStates]
) -> Scalar:
    """Every exit is a layer read by the model's own norm and head, so that a student cut there
    (`truncate:STUDENT:layers=N`) is this exit.

    Args:
        loss: over exits.
        batch: of the student.
        exits: [B, T, H] what the head reads at each, the shallowest first.
    """
    hard, soft, teacher = loss.shares(len(exits))
    fixed = exits[teacher].detach().reshape(-1, exits[teacher].shape[-1])

    def says(positions: Positions) -> RowLogits:
        return batch.head.logits(fixed[positions]).detach()

    kl = ForwardKl(temperature=loss.temperature)
    total = batch.hidden.new_zeros(())
    for depth, exit_states in enumerate(exits):
        found = batch.fused(
            kl,
            hidden=exit_states,
            says=says if soft[depth] else None,
            strength=soft[depth],
            likelihood=hard[depth],
        )
        total = total + found.total
    return total


def of_pairs(
    loss: Contrastive, batch: Batch, by_teacher: PerSequence
) -> Scalar:
    """A loss of texts of two authors; a pass over the head for each alpha.

    Args:
        loss: at this place of the training.
        batch: the teacher's texts, and the student's to the same prompts.
        by_teacher: [B] whose they are.
    """
    logs: list[LabelLogProbs] = []
    if loss.curriculum:
        logs = [
            -label_losses(say, batch.labels)
            for say in (batch.own, batch.teacher)
        ]
    pairs = int(by_teacher.sum()) * batch.parts
    tokens = batch.mask.sum(dim=1).clamp(min=1)
    masks: dict[TokenLoss, Mask] = {}
    parts = loss.of_each(batch.mask, by_teacher, logs, pairs)
    for row, (one, weight) in enumerate(parts):
        none = torch.zeros(batch.labels.shape, device=batch.labels.device)
        mask = masks.setdefault(one, none)
        mask[row] = batch.mask[row] * (weight / tokens[row])
    total = batch.hidden.new_zeros(())
    for one, mask in masks.items():
        found = batch.fused(one, says=batch.teacher, mask=mask, denominator=1.0)
        total = total + found.total
    return total


def of_preferences(
    loss: DpkdTexts, batch: Batch, by_teacher: PerSequence
) -> Scalar:
    """A loss of pairs of whole texts, by the likelihoods of these texts.

    Args:
        loss: over whole texts.
        batch: the teacher's texts, and the student's to the same prompts.
        by_teacher: [B] whose they are.
    """
    own, theirs = (
        -label_losses(say, batch.labels) for say in (batch.own, batch.teacher)
    )
    pairs = float(by_teacher.sum()) * batch.parts

    def value_of(logs: LabelLogProbs) -> Scalar:
        return loss.preference(logs, theirs, batch.mask, by_teacher, pairs)

    total = of_label_logs(batch, own, value_of)
    if not loss.reverse_kl:
        return total
    written = batch.mask & ~by_teacher[:, None]
    tokens = float(written.sum().clamp(min=1))
    found = batch.fused(
        ReverseKl(),
        says=batch.teacher,
        mask=written,
        strength=loss.reverse_kl,
        denominator=tokens * batch.parts,
    )
    return total + found.total


def of_label_logs(
    batch: Batch,
    logs: LabelLogProbs,
    value_of: Callable[[LabelLogProbs], Scalar],
) -> Scalar:
    """A value of the labels' log-probabilities alone, with its gradient for the student.

    The gradient by these log-probabilities is taken first: the likelihood, weighed by it token by
    token, then has the same gradient.

    Args:
        batch: of the student.
        logs: [B, T] ln-probabilities of its labels, without a gradient.
        value_of: a scalar of them.
    """
    with torch.enable_grad():
        leaf = logs.clone().requires_grad_()
        value = value_of(leaf)
    (slopes,) = torch.autograd.grad(value, leaf)
    linear = batch.fused(
        ForwardKl(), mask=-slopes, likelihood=1.0, denominator=1.0
    ).total
    return linear + (value - linear).detach()


def of_policy(loss: Minillm, batch: Batch, share: float) -> Scalar:
    """The policy's loss of texts that this very student has written, and its single-step term.

    Args:
        loss: of whole texts.
        batch: of texts drawn from a mixture.
        share: of the teacher in it.
    """
    mask = batch.mask
    logs, wanted = (
        -label_losses(say, batch.labels) for say in (batch.own, batch.teacher)
    )
    divisor = batch.divisor or float(mask.sum().clamp(min=1))
    mixture = mixed(logs, wanted, share) if share else None
    drawn = logs if mixture is None else mixture
    advantages = loss.advantages(wanted - logs, mask)

    def value_of(own: LabelLogProbs) -> Scalar:
        return loss.policy(own, drawn, advantages, mask) / divisor

    total = of_label_logs(batch, logs, value_of)
    if loss.single_step:
        one_step = batch.fused(
            ReverseKl(),
            says=batch.teacher,
            mask=loss.importance(logs, mixture, mask),
            strength=loss.single_step,
            denominator=divisor,
        )
        total = total + one_step.total
    return total


def across(
    loss: CrossLoss, batch: Batch, teacher: CrossTeacher, inputs: Inputs
) -> Scalar:
    """A mean over sequences, and over the teachers, who read the batch in tokens of their own."""
    total = batch.hidden.new_zeros(())
    for share, voice in teacher.voices:
        said = voice.crosses(inputs)
        rows = torch.tensor(said.rows, device=batch.hidden.device)
        total = total + fused_crossing(
            voice.told(loss),
            batch.hidden[rows],
            batch.head,
            TeacherSide(said.say, said.length, said.labels),
            said.groups,
            labels=batch.labels[rows].clamp(min=0),
            strength=share,
            denominator=max(1, len(said.rows)) * batch.parts,
        )
    return total


def of_spaces(
    loss: Dskd,
    batch: Batch,
    models: tuple[PreTrainedModel, AcrossTeacher],
    inputs: Inputs,
    network: nn.Module,
) -> Scalar:
    """A loss of both models' spaces; logits of the learnt tokens are held, of both.

    Args:
        loss: over spaces.
        batch: of the student.
        models: the student, and its teacher of another tokenizer.
        inputs: the batch as it was read.
        network: what the loss learns beside the student.
    """
    student, teacher = models
    rows, theirs = teacher.space(inputs)
    chosen = torch.tensor(rows, device=batch.hidden.device)
    ours = space_of(
        student,
        batch.head,
        batch.hidden[chosen],
        inputs["input_ids"][chosen, :-1],
        batch.labels[chosen],
    )
    return loss(
        ours,
        theirs,
        batch.mask[chosen],
        denominator=batch.divisor,
        network=network,
    )


def of_logits(
    loss: Loss[Logits], batch: Batch, network: nn.Module | None = None
) -> Scalar:
    """A loss that wants both models' logits whole: of the tokens that are learnt, in one line
    [1, N, V].

    Args:
        loss: of logits.
        batch: of the student.
        network: what the loss learns beside the student, if it learns something.
    """
    places = batch.mask.reshape(-1).nonzero()[:, 0]
    student = dense(
        batch.head, batch.hidden.reshape(-1, batch.hidden.shape[-1])[places]
    )
    mask = torch.ones(1, len(places), dtype=torch.bool, device=places.device)
    named: dict[str, Any] = {
        "band": network,
        "labels": batch.labels.reshape(1, -1)[:, places],
        "student_states": _last(batch.ours, batch.mask),
        "teacher_states": _last(batch.theirs, batch.mask),
    }
    value = loss(
        student[None],
        whole(batch.teacher(places))[None],
        mask,
        denominator=batch.divisor,
        **{need: named[need] for need in loss.needs},
    )
    return value / batch.parts if loss.couples else value


def _last(features: Features, mask: Mask) -> HiddenStates | None:
    """[1, N, H] the last states of the tokens that are learnt."""
    if not features.states:
        return None
    states = features.states[-1][:, : mask.shape[1]].to(mask.device)
    return states[mask][None]
