"""Loading a student and keeping it: the part that all trainers share."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from finetune import rows, scratch
from finetune.settings import TrainConfig
from synth.errors import WrongUse


def open_student(config: TrainConfig, data: Any, seed: int) -> tuple[Any, Any]:
    """(model, tokenizer): built from scratch over the data's texts, or loaded from a path or the hub.

    Raises:
        WrongUse: nothing to load.
    """
    if scratch.is_scratch(config.model):
        return scratch.build(config.model, rows.texts(data), seed)
    return load_student(config.model)


def load_student(model: str) -> tuple[Any, Any]:
    """(model, tokenizer) from a path or the hub, LoRA adapters included."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        found = _model(model)
    except (OSError, ValueError) as error:
        todo = "Give a folder that a trainer saved, a name of the hub, or scratch:tiny."
        raise WrongUse(f"--model {model}", f"no model ({str(error).splitlines()[0]})", "a causal language model", todo) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return found, tokenizer


def _model(model: str) -> Any:
    if (Path(model) / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM  # noqa: PLC0415

        return AutoPeftModelForCausalLM.from_pretrained(model, dtype="auto")
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    return AutoModelForCausalLM.from_pretrained(model, dtype="auto")


def train_and_keep(trainer: Any, tokenizer: Any, config: TrainConfig, count: int) -> dict[str, Any]:
    """Trains, saves the student and its tokenizer, and writes `train.json`; returns its content."""
    started, cpu = time.time(), time.process_time()
    resume = trainer.args.resume_from_checkpoint
    result = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(config.output))
    tokenizer.save_pretrained(str(config.output))
    weights = [p.numel() for p in trainer.model.parameters()]
    trained = [p.numel() for p in trainer.model.parameters() if p.requires_grad]
    info = {
        "model": config.model,
        "data": config.data,
        "rows": count,
        "taint": rows.taint(config.data) if config.data else [],
        "steps": result.global_step,
        "loss": result.training_loss,
        "parameters": sum(weights),
        "trainable": sum(trained),
        "seconds": round(time.time() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }
    (config.output / "train.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return info
