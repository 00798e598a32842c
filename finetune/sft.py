"""Supervised fine-tuning of a student on kept rows, with TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune import rows, student
from finetune.settings import TrainConfig, peft_config, trainer_config
from finetune.weighting import read_coefficients
from synth.errors import WrongUse


def run(config: TrainConfig, *, coefficients: Mapping[str, float] | None = None, negative_margin: float = 3.0) -> dict[str, Any]:
    """Trains on `prompt` and `completion` (or messages, or text); the loss counts completions alone.

    Rows with a `weight` or a `task` (exports labelled and multitask) are trained with the loss of `finetune.weighting`: means of
    rows, task by task, the tasks of an item in one step. A batch then counts items, not rows.

    Args:
        config: data, model, output, fields of the TRL config.
        coefficients: of each task; None for equal shares of 1.
        negative_margin: nats a token from which on a row of negative weight pushes no longer.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss (mean nats a token), parameters, seconds.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    data, given = rows.sft_rows(config.data), rows.weighting(config.data)
    if coefficients and given is None:
        raise WrongUse(
            "--coefficients", "rows without a task", "rows with a column `task`", "Write them with `synth export DIR --to multitask`."
        )
    tasks = sorted(set(given["tasks"])) if given else []
    shares = read_coefficients(coefficients or {}, tasks) if given else []
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(SFTConfig, config)
    model, tokenizer = student.open_student(config, data, args.seed)
    options = {"model": model, "args": args, "train_dataset": data, "processing_class": tokenizer, "peft_config": peft_config(config)}
    if given is None:
        trainer = SFTTrainer(**options)
    else:
        if args.packing or args.loss_type != "nll":
            todo = "Leave them out, or take the columns `weight` and `task` out of the rows."
            raise WrongUse("--packing, --loss-type", "one of them", "rows one by one under plain likelihood", todo)
        from finetune._weighted_trainer import WeightedTrainer  # noqa: PLC0415 - as above

        numbers = [tasks.index(task) for task in given["tasks"]]
        trainer = WeightedTrainer(
            weights=given["weights"], task_numbers=numbers, ids=given["ids"], coefficients=shares, margin=negative_margin, **options
        )
    info = student.train_and_keep(trainer, tokenizer, config, len(data))
    return {**info, "coefficients": dict(zip(tasks, shares, strict=True))} if given else info
