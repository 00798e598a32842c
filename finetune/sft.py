"""Supervised fine-tuning of a student on kept rows, with TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any

from finetune import rows, student
from finetune.settings import TrainConfig, peft_config, trainer_config


def run(config: TrainConfig) -> dict[str, Any]:
    """Trains on `prompt` and `completion` (or messages, or text); the loss counts completions alone.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss (mean nats a token), parameters, seconds.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    data = rows.sft_rows(config.data)
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(SFTConfig, config)
    model, tokenizer = student.open_student(config, data, args.seed)
    trainer = SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer, peft_config=peft_config(config))
    return student.train_and_keep(trainer, tokenizer, config, len(data))
