"""TRL's SFTTrainer with a teacher: fused losses over hidden states, dense ones where they must be,
the student's own texts where wanted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from math import isnan
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from transformers.trainer_callback import ExportableState, TrainerCallback
from trl import SFTTrainer

from finetune.core.rows import JsonObject
from finetune.core.tensors import (
    HiddenStates,
    Inputs,
    Labels,
    Mask,
    Scalar,
    TokenIds,
)
from finetune.data.tokens import IGNORED, fingerprint
from finetune.kernels.fused import fused
from finetune.kernels.fused_crossing import TeacherSide, fused_crossing
from finetune.kernels.heads import Head
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base import TokenLoss
from finetune.losses.base_crossing import CrossLoss
from finetune.losses.base_parts import TeacherAt
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.taid import Taid, TaidSchedule
from finetune.teachers.across_tokenizers import AnyTeacher, CrossTeacher
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import SeveralTeachers, Teacher, label_losses
from finetune.teachers.prompted import PromptedTeacher
from finetune.trainers.agreement import agreement
from finetune.trainers.on_policy import WorstTokens, Writer, corrupted, worst
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Interpolation(TrainerCallback, ExportableState):  # type: ignore[misc]
    """TAID's t between optimiser steps; it is saved with checkpoints, so that resumed runs go on
    where they were.

    Args:
        schedule: fields of the schedule.
    """

    def __init__(self, schedule: Row) -> None:
        self.schedule = TaidSchedule(**schedule)
        self.seen = 0.0

    def state(self) -> JsonObject:
        """What a checkpoint holds."""
        return {
            "args": {"schedule": asdict(self.schedule)},
            "attributes": {"seen": self.seen},
        }


def _without_labels(inputs: Inputs) -> dict[str, Tensor]:
    return {name: value for name, value in inputs.items() if name != "labels"}


class DistillTrainer(SFTTrainer):  # type: ignore[misc]
    """Minimises strength x loss(student, teacher) + likelihood x cross-entropy.

    Args:
        loss: of finetune.losses.
        teacher: with `says(inputs)`.
        likelihood: weight of the cross-entropy to the labels.
        strength: weight of the loss.
        trust: by the fingerprint of a row, how much the teacher counts there; rows that are not
            named count 1.
        on_policy: see there. Whether a step is on-policy is drawn once an optimiser step, from its
            number: all processes agree.
        size: of the tokenizer; both heads are cut to it.
    """

    def __init__(
        self,
        *,
        loss: TokenLoss | CrossLoss,
        teacher: AnyTeacher,
        likelihood: float = 0.0,
        strength: float = 1.0,
        on_policy: OnPolicy | None = None,
        trust: Mapping[bytes, float] | None = None,
        size: int,
        **options: object,
    ) -> None:
        expose_hidden(options["model"])
        super().__init__(**options)
        self.kd_loss = loss
        self.teacher = teacher
        self.likelihood = likelihood
        self.strength = strength
        self.size = size
        self.on_policy = on_policy or OnPolicy()
        self.trust = trust or {}
        self._kept: list[Inputs] = []
        self._writes = False
        if isinstance(loss, Taid):
            self.args.restore_callback_states_from_checkpoint = True
            self.add_callback(Interpolation({"steps": 1, "start": loss.t}))

    def get_batch_samples(
        self,
        epoch_iterator: Iterator[Inputs],
        num_batches: int,
        device: torch.device | str,
    ) -> tuple[list[Inputs], Tensor | int | None]:
        """The batches of an optimiser step; where it is on-policy, with the student's texts, which
        are then counted too.
        """
        self._interpolate()
        self._writes = False
        samples, count = super().get_batch_samples(
            epoch_iterator, num_batches, device
        )
        kind = self.on_policy.kind(
            self.args.seed, self.state.global_step, self.state.max_steps
        )
        if (
            not samples
            or kind == "rows"
            or (kind == "replay" and not self._kept)
        ):
            return samples, count
        self._writes = kind == "write"
        if self._writes:
            samples = [self._written(batch) for batch in samples]
        else:
            draw = random.Random(
                f"replay/{self.args.seed}/{self.state.global_step}"
            )
            samples = [draw.choice(self._kept) for _ in samples]
        return samples, self._get_num_items_in_batch(samples, device)

    def _interpolate(self) -> None:
        """Moves TAID's t by the loss of the last optimiser step, over all its batches and
        processes.
        """
        moved = self._interpolation()
        if moved is None or not isinstance(self.kd_loss, Taid):
            return
        if self.state.global_step:
            moved.schedule.steps = self.state.max_steps
            moved.schedule.update(
                float(
                    self.accelerator.reduce(
                        torch.tensor(moved.seen, device=self.args.device),
                        reduction="sum",
                    )
                )
            )
            moved.seen = 0.0
            self.kd_loss = replace(self.kd_loss, t=moved.schedule.t)

    def _interpolation(self) -> Interpolation | None:
        return next(
            (
                part
                for part in self.callback_handler.callbacks
                if isinstance(part, Interpolation)
            ),
            None,
        )

    def _written(self, batch: Inputs) -> Inputs:
        """The student's texts to the batch's prompts, kept for later where they are replayed."""
        model = self.accelerator.unwrap_model(self.model)
        differs = self._worst if self.on_policy.correct else None
        made = Writer(model, self.processing_class, self.on_policy).write(
            batch, differs
        )
        if self.on_policy.replay:
            self._kept = [*self._kept, made][-self.on_policy.replay :]
        return made

    def _worst(self, batch: Inputs) -> WorstTokens:
        """Where each text goes most wrong, and what the teacher would have said there."""
        batch = {
            name: value.to(self.args.device) for name, value in batch.items()
        }
        with torch.no_grad():
            model = self.accelerator.unwrap_model(self.model)
            hidden = model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                hidden_only=True,
            )[:, :-1]
            return worst(
                hidden,
                head_of(model, self.size),
                cast("Teacher", self.teacher).says(batch),
                batch["labels"][:, 1:],
            )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Scalar | tuple[Scalar, Inputs]:
        """The sum over this batch's tokens, divided by those of the whole step on all processes."""
        # Rows are known by their tokens as they were.
        trust = self._trusted(inputs)
        if self.on_policy.corrupt and model.training:
            inputs = {**inputs, "input_ids": self._corrupted(model, inputs)}
        kept = _without_labels(inputs)
        if self.aux_loss_enabled:
            hidden, uneven = model(**kept, hidden_only=True, balance=True)
        else:
            hidden = model(**kept, hidden_only=True)
            uneven = None
        hidden = hidden[:, :-1]
        divisor = (
            None if num_items_in_batch is None else float(num_items_in_batch)
        )
        if isinstance(self.kd_loss, CrossLoss):
            loss = self._crossed(self.kd_loss, hidden, inputs, divisor)
        else:
            loss = self._combined(hidden, inputs, divisor, trust)
        if divisor is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        if uneven is not None:
            # A mean over a batch, as SFTTrainer adds it: accumulated batches share the step.
            steps = (
                1
                if divisor is None
                else self.current_gradient_accumulation_steps
            )
            loss = loss + self.router_aux_loss_coef * uneven / steps
        return (loss, {"hidden": hidden}) if return_outputs else loss

    def _corrupted(self, model: PreTrainedModel, inputs: Inputs) -> TokenIds:
        with torch.no_grad():
            hidden = model(**_without_labels(inputs), hidden_only=True)[:, :-1]
        head = head_of(self.accelerator.unwrap_model(model), self.size)
        return corrupted(
            inputs,
            hidden,
            head,
            self.on_policy.corrupt,
            f"{self.args.seed}/{self.state.global_step}",
        )

    def _trusted(self, inputs: Inputs) -> Mask | None:
        """[B, T] how much the teacher counts at each shifted token; None where it counts alike
        everywhere.
        """
        if not self.trust:
            return None
        weights = torch.ones(
            inputs["labels"].shape[0],
            inputs["labels"].shape[1] - 1,
            device=inputs["labels"].device,
        )
        for row, start, ids, labels in rows_of(inputs):
            weights[row, start : start + len(ids) - 1] = self.trust.get(
                fingerprint(ids, labels), 1.0
            )
        return weights

    def _parts(self, divisor: float | None) -> int:
        """Batches of an optimiser step on all processes: what a mean over sequences is divided by,
        where a sum over tokens is not.
        """
        if divisor is None:
            return 1
        steps: int = self.current_gradient_accumulation_steps
        return steps * int(self.accelerator.num_processes)

    def _crossed(
        self,
        kd: CrossLoss,
        hidden: HiddenStates,
        inputs: Inputs,
        divisor: float | None,
    ) -> Scalar:
        """A mean over sequences; the likelihood, where there is one, is a mean over tokens as
        ever.
        """
        labels = inputs["labels"][:, 1:]
        head = head_of(self.accelerator.unwrap_model(self.model), self.size)
        teacher = cast("CrossTeacher", self.teacher).crosses(inputs)
        rows = torch.tensor(teacher.rows, device=hidden.device)
        loss = fused_crossing(
            kd,
            hidden[rows],
            head,
            TeacherSide(teacher.say, teacher.length, teacher.labels),
            teacher.groups,
            labels=labels[rows].clamp(min=0),
            strength=self.strength,
            denominator=max(1, len(teacher.rows)) * self._parts(divisor),
        )
        if not self.likelihood:
            return loss
        likelihood, _ = fused(
            ForwardKl(),
            hidden,
            head,
            None,
            labels != IGNORED,
            labels=labels.clamp(min=0),
            likelihood=self.likelihood,
            denominator=divisor,
        )
        return loss + likelihood

    def _combined(
        self,
        hidden: HiddenStates,
        inputs: Inputs,
        divisor: float | None,
        trust: Mask | None,
    ) -> Scalar:
        loss = self.kd_loss
        assert isinstance(loss, TokenLoss)  # noqa: S101 - the recipe refuses others
        labels = inputs["labels"][:, 1:]
        mask = labels != IGNORED
        teacher = cast("Teacher", self.teacher).says(inputs)
        head = head_of(self.accelerator.unwrap_model(self.model), self.size)
        if self._writes:
            self._compare(hidden, head, teacher, labels)
        if loss.reweighs:
            weights = loss.reweighed(label_losses(teacher, labels), mask)
            total, _ = fused(
                loss,
                hidden,
                head,
                teacher,
                weights,
                labels=labels.clamp(min=0),
                strength=self.strength,
                trust=trust,
                denominator=len(mask),
            )
            return total / self._parts(divisor)
        total, alone = fused(
            loss,
            hidden,
            head,
            teacher,
            mask,
            labels=labels.clamp(min=0),
            likelihood=self.likelihood,
            strength=self.strength,
            trust=trust,
            denominator=divisor,
        )
        self._observe(float(alone), float(mask.sum()), divisor)
        return total

    def _compare(
        self, hidden: HiddenStates, head: Head, say: TeacherAt, labels: Labels
    ) -> None:
        """Logs how near what the student wrote is to what the teacher would say."""
        found = agreement(hidden, head, say, labels)
        if found is not None:
            metrics = self._metrics["train"]
            metrics["teacher_overlap"].append(found.overlap)
            if not isnan(found.gap):
                metrics["gap_to_teacher"].append(found.gap)

    def _observe(
        self, loss: float, tokens: float, divisor: float | None
    ) -> None:
        """Tells what learns from the loss of a batch, without a gradient."""
        if (moved := self._interpolation()) is not None:
            moved.seen += loss
        teacher = self.teacher
        if isinstance(teacher, PromptedTeacher):
            teacher = teacher.teacher
        if isinstance(teacher, SeveralTeachers):
            mean = loss * (divisor or tokens) / max(1.0, tokens)
            teacher.learn(mean)
