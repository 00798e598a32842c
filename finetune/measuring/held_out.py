"""What a student says to rows held out while it is trained: exact match, samples, and a file with
one line a measurement.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import EarlyStoppingCallback
from transformers.trainer_callback import TrainerCallback

from finetune.core.rows import JsonObject
from finetune.data.held_out import EXACT_MATCH, HeldOut
from finetune.data.prompts import Template
from finetune.measuring.evaluate import EvaluateConfig, answered, questions
from finetune.settings import TrainConfig
from finetune.students.checkpoints import cut
from finetune.students.load import measured_in
from synth.core import registry
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

# In the output folder.
FILE = "held_out.jsonl"
# Answers of each measurement that are written down.
_SAMPLES = 5
_BATCH = 64


def watch(
    trainer: Trainer,
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
) -> None:
    """Has a trainer answer rows held out where that is wanted, write down each measurement, and
    stop where none is better than the best for long. Does nothing where no rows are held out.

    Args:
        trainer: with an `eval_dataset`.
        config: of the training.
        tokenizer: the student's.
        template: how the student is asked.

    Raises:
        WrongUse: rows without a prompt or a target, where they are to be answered.
    """
    held = config.held_out
    if held is None:
        return
    answer = None
    if held.answers:
        answer = _answering(held, config.output, tokenizer, template)
    path = config.output / FILE
    trainer.add_callback(Measurements(path, trainer.log, answer))
    if held.patience:
        # How long nothing was better is known after a checkpoint too.
        trainer.args.restore_callback_states_from_checkpoint = True
        trainer.add_callback(EarlyStoppingCallback(held.patience))


# A student -> its judged answers.
Answering = Callable[["PreTrainedModel"], list[JsonObject]]


def _answering(
    held: HeldOut,
    output: Path,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
) -> Answering:
    """Answers rows as `finetune evaluate` does."""
    config = EvaluateConfig(
        data=held.data,
        model=str(output),
        output=output,
        parser=held.parser,
        max_new_tokens=held.new_tokens,
        batch=_BATCH,
        limit=held.rows,
        template=template,
    )
    parser = registry.build("synth.parsers", held.parser, "--measure-parser")
    data = questions(held.data, held.rows, "--held-out")

    def answer(model: PreTrainedModel) -> list[JsonObject]:
        return answered(model, tokenizer, data, parser, config)

    return answer


class Measurements(TrainerCallback):  # type: ignore[misc]
    """Adds exact match to each measurement, and writes it down.

    Args:
        path: of the file; lines of steps that a resumed training takes again are taken out of it.
        log: of the trainer.
        answer: gives a student's judged answers; None where it is not asked.
    """

    def __init__(
        self,
        path: Path,
        log: Callable[[dict[str, float]], None],
        answer: Answering | None,
    ) -> None:
        self.path = path
        self.log = log
        self.answer = answer

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Keeps what was measured before the step that the training begins at."""
        if is_first_process():
            # What is measured before the first step stands under 0.
            cut(self.path, state.global_step + 1 if state.global_step else 0)

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        *,
        model: PreTrainedModel,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Answers, and writes a line."""
        judged: list[JsonObject] = []
        if self.answer is not None:
            judged = self.answer(model)
            share = sum(row["right"] for row in judged) / len(judged)
            metrics[f"eval_{EXACT_MATCH}"] = share
            self.log({f"eval_{EXACT_MATCH}": share})
        if not is_first_process():
            return
        line: JsonObject = {
            "step": state.global_step,
            "epoch": state.epoch,
            **measured_in(metrics),
        }
        if judged:
            line["samples"] = list(map(_sample, judged[:_SAMPLES]))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=True) + "\n")


def _sample(row: JsonObject) -> JsonObject:
    names = ("prompt", "target", "reply", "answer", "right")
    return {name: row[name] for name in names}
