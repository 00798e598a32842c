"""The student as its own teacher: as it is, or as the mean of what it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_model, save_model
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from finetune.core.tensors import Inputs
from finetune.kernels.hidden_states import expose_hidden
from finetune.losses.base_crossing import LogitsAt
from finetune.teachers.in_process import frozen, logits_of
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

_FILE = "own_teacher.safetensors"


class OwnTeacher(TrainerCallback):  # type: ignore[misc]
    """A student that teaches itself, of another prompt (Self-Distillation Fine-Tuning,
    arXiv:2601.19897).

    Args:
        model: the student, before a trainer wraps it.
        size: of the tokenizer.
        rate: of its weights that each step of the student's replaces, above 0 and below 1; None
            for the student as it is.
    """

    def __init__(
        self, model: PreTrainedModel, size: int, rate: float | None
    ) -> None:
        self.size = size
        self.rate = rate
        self.model = model
        if rate is not None:
            device = next(model.parameters()).device
            self.model = frozen(copy.deepcopy(model), device)
            expose_hidden(self.model)

    def says(self, inputs: Inputs) -> LogitsAt:
        """Runs the body once, without gradients or dropout."""
        training = self.model.training
        self.model.eval()
        say = logits_of(self.model, inputs, self.size)
        self.model.train(training)
        return say

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Takes the mean of a checkpoint up again.

        Raises:
            WrongUse: the checkpoint has none.
        """
        if self.rate is None:
            return
        self.model.to(args.device)
        if not state.global_step:
            return
        file = Path(str(args.resume_from_checkpoint)) / _FILE
        if not file.is_file():
            raise WrongUse(
                f"--resume-from-checkpoint {file.parent}",
                f"no {_FILE}",
                "a checkpoint of a training with --teacher self:ema",
                "Resume from another, or begin anew.",
            )
        load_model(self.model, file, device=str(args.device))

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        model: torch.nn.Module | None = None,
        **_: object,
    ) -> None:
        """Moves the mean towards the student."""
        if self.rate is None or model is None:
            return
        whole = getattr(model, "module", model)
        pairs = zip(self.model.parameters(), whole.parameters(), strict=True)
        with torch.no_grad():
            for mean, now in pairs:
                mean.lerp_(now.detach().to(mean.dtype), self.rate)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Keeps the mean beside a checkpoint's weights."""
        if self.rate is None or not state.is_world_process_zero:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        folder = Path(str(args.output_dir)) / name
        save_model(self.model, str(folder / _FILE))
