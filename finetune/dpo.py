"""Preference optimisation of a student on chosen and rejected rows, with TRL's DPOTrainer."""

from __future__ import annotations

from typing import Any

from finetune import rows, scratch, student
from finetune.settings import TrainConfig, peft_config, trainer_config
from synth.errors import WrongUse


def run(config: TrainConfig) -> dict[str, Any]:
    """Trains on `prompt`, `chosen`, `rejected`, or on pairs of a run's kept and dropped draws.

    Start from a student that has converged: DPO moves probability between answers that it can already give.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    if scratch.is_scratch(config.model):
        raise WrongUse("--model", config.model, "a trained student", "Run `finetune sft` first and give its folder.")
    data = rows.preference_rows(config.data)
    from trl import DPOConfig, DPOTrainer  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(DPOConfig, config)
    model, tokenizer = student.load_student(config.model)
    trainer = DPOTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer, peft_config=peft_config(config))
    return student.train_and_keep(trainer, tokenizer, config, len(data))
