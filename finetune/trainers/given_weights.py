"""A student whose weights a server is given while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import TrainerCallback

from finetune.core.tensors import RowLogProbs
from finetune.rollouts.fingerprints import log_probs_of
from finetune.rollouts.served_texts import ServedTexts

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        Trainer,
        TrainerState,
        TrainingArguments,
    )


class TrainedStudent:
    """The student of a trainer, as it is at the moment.

    Args:
        trainer: that trains it; what hangs beside the student is not given.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @property
    def model(self) -> PreTrainedModel:
        """Without what a trainer wraps around it."""
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def save(self, folder: Path) -> None:
        """Writes weights, or adapters, and the tokenizer."""
        beside = getattr(self.trainer, "beside", None)
        with beside.apart(self.model) if beside else nullcontext():
            self.model.save_pretrained(folder)
        self.trainer.processing_class.save_pretrained(folder)

    def said(self, probes: Sequence[Sequence[int]]) -> RowLogProbs:
        """[P, V] log-probabilities behind each probe."""
        return log_probs_of(self.model, probes)


class GivesWeights(TrainerCallback):  # type: ignore[misc]
    """Gives the first weights before the first step: those of a checkpoint, where the training goes
    on from one.

    Args:
        served: the server.
        trainer: that trains the student.
        probes: token ids that the server is asked about.
    """

    def __init__(
        self,
        served: ServedTexts,
        trainer: Trainer,
        probes: Sequence[Sequence[int]],
    ) -> None:
        self.served = served
        self.student = TrainedStudent(trainer)
        self.probes = probes

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: object,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Raises WrongUse where the server does not write with them."""
        self.served.begin(self.student, state.global_step, self.probes)
