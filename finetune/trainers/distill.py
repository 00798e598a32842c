"""TRL's SFTTrainer with a teacher: fused losses over hidden states, dense ones where they must be,
the student's own texts where wanted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from transformers.trainer_callback import ExportableState, TrainerCallback
from trl import SFTTrainer

from finetune.data.tokens import IGNORED, fingerprint
from finetune.kernels.fused import fused
from finetune.kernels.fused_crossing import TeacherSide, fused_crossing
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base import TokenLoss
from finetune.losses.base_crossing import CrossLoss
from finetune.losses.forward_kl import ForwardKl
from finetune.losses.taid import Taid, TaidSchedule
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import SeveralTeachers, label_losses
from finetune.trainers.on_policy import Writer, corrupted, worst
from finetune.trainers.on_policy_settings import OnPolicy


class Interpolation(TrainerCallback, ExportableState):  # type: ignore[misc]
    """TAID's t between optimiser steps; it is saved with checkpoints, so that resumed runs go on
    where they were.

    Args:
        schedule: fields of the schedule.
    """

    def __init__(self, schedule: Mapping[str, Any]) -> None:
        self.schedule = TaidSchedule(**schedule)
        self.seen = 0.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "args": {"schedule": asdict(self.schedule)},
            "attributes": {"seen": self.seen},
        }


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
        teacher: Any,
        likelihood: float = 0.0,
        strength: float = 1.0,
        on_policy: OnPolicy | None = None,
        trust: Mapping[bytes, float] | None = None,
        size: int,
        **options: Any,
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
        self._kept: list[dict[str, Any]] = []
        if isinstance(loss, Taid):
            self.args.restore_callback_states_from_checkpoint = True
            self.add_callback(Interpolation({"steps": 1, "start": loss.t}))

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: Any
    ) -> Any:
        """The batches of an optimiser step; where it is on-policy, with the student's texts, which
        are then counted too.
        """
        self._interpolate()
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
        if kind == "write":
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

    def _written(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The student's texts to the batch's prompts, kept for later where they are replayed."""
        model = self.accelerator.unwrap_model(self.model)
        differs = self._worst if self.on_policy.correct else None
        made = Writer(model, self.processing_class, self.on_policy).write(
            batch, differs
        )
        if self.on_policy.replay:
            self._kept = [*self._kept, made][-self.on_policy.replay :]
        return made

    def _worst(self, batch: dict[str, Any]) -> tuple[Any, Any]:
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
                self.teacher.says(batch),
                batch["labels"][:, 1:],
            )

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The sum over this batch's tokens, divided by those of the whole step on all processes."""
        trust = self._trusted(
            inputs
        )  # rows are known by their tokens as they were
        if self.on_policy.corrupt and model.training:
            inputs = {**inputs, "input_ids": self._corrupted(model, inputs)}
        kept = {
            name: value for name, value in inputs.items() if name != "labels"
        }
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

    def _corrupted(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        with torch.no_grad():
            hidden = model(
                **{
                    name: value
                    for name, value in inputs.items()
                    if name != "labels"
                },
                hidden_only=True,
            )[:, :-1]
        head = head_of(self.accelerator.unwrap_model(model), self.size)
        return corrupted(
            inputs,
            hidden,
            head,
            self.on_policy.corrupt,
            f"{self.args.seed}/{self.state.global_step}",
        )

    def _trusted(self, inputs: Mapping[str, Any]) -> Any:
        """[B, T] how much the teacher counts at each shifted token; None where it counts alike
        everywhere.
        """
        if not self.trust:
            return None
        found = torch.ones(
            inputs["labels"].shape[0],
            inputs["labels"].shape[1] - 1,
            device=inputs["labels"].device,
        )
        for row, start, ids, labels in rows_of(inputs):
            found[row, start : start + len(ids) - 1] = self.trust.get(
                fingerprint(ids, labels), 1.0
            )
        return found

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
        hidden: Any,
        inputs: Mapping[str, Any],
        divisor: float | None,
    ) -> Any:
        """A mean over sequences; the likelihood, where there is one, is a mean over tokens as
        ever.
        """
        labels = inputs["labels"][:, 1:]
        head = head_of(self.accelerator.unwrap_model(self.model), self.size)
        said = self.teacher.crosses(inputs)
        rows = torch.tensor(said.rows, device=hidden.device)
        loss = fused_crossing(
            kd,
            hidden[rows],
            head,
            TeacherSide(said.say, said.length, said.labels),
            said.groups,
            labels=labels[rows].clamp(min=0),
            strength=self.strength,
            denominator=max(1, len(said.rows)) * self._parts(divisor),
        )
        if not self.likelihood:
            return loss
        known = labels.clamp(min=0)
        more, _ = fused(
            ForwardKl(),
            hidden,
            head,
            None,
            labels != IGNORED,
            labels=known,
            likelihood=self.likelihood,
            denominator=divisor,
        )
        return loss + more

    def _combined(
        self,
        hidden: Any,
        inputs: Mapping[str, Any],
        divisor: float | None,
        trust: Any,
    ) -> Any:
        labels = inputs["labels"][:, 1:]
        say = self.teacher.says(inputs)
        mask = labels != IGNORED
        known = labels.clamp(min=0)
        loss = self.kd_loss
        head = head_of(self.accelerator.unwrap_model(self.model), self.size)
        assert isinstance(loss, TokenLoss)  # noqa: S101 - the recipe refuses others
        if not loss.reweighs:
            total, alone = fused(
                loss,
                hidden,
                head,
                say,
                mask,
                labels=known,
                likelihood=self.likelihood,
                strength=self.strength,
                trust=trust,
                denominator=divisor,
            )
            if (moved := self._interpolation()) is not None:
                moved.seen += float(alone)
            if isinstance(self.teacher, SeveralTeachers):
                counted = float(mask.sum())
                self.teacher.learn(
                    float(alone) * (divisor or counted) / max(1.0, counted)
                )
            return total
        weights = loss.reweighed(label_losses(say, labels), mask)
        total, _ = fused(
            loss,
            hidden,
            head,
            say,
            weights,
            labels=known,
            strength=self.strength,
            trust=trust,
            denominator=len(mask),
        )
        return total / self._parts(divisor)
