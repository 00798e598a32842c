"""One place where a YAML file and flags become a TRL config, with defaults that this machine can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from synth.errors import WrongUse, did_you_mean
from synth.registry import scalar
from synth.strict_yaml import read_yaml


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every training command is told.

    Attributes:
        data: run folder, exported folder or file, or dataset name.
        model: a path, a hub name, or scratch:SIZE.
        output: where the student goes.
        trainer: fields of the TRL config, by their own names.
        lora: fields of peft's LoraConfig; None trains all weights.
    """

    data: str
    model: str
    output: Path
    trainer: Mapping[str, Any] = field(default_factory=dict)
    lora: Mapping[str, Any] | None = None


def read_config(path: str | Path | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a YAML file, overruled by flags; numbers written as text (5e-3) become numbers."""
    from_file = read_yaml(Path(path))[0] if path else {}
    return {name: scalar(value) if isinstance(value, str) else value for name, value in {**from_file, **flags}.items()}


def trainer_config(kind: type[Any], config: TrainConfig) -> Any:
    """The TRL config of a run.

    Raises:
        WrongUse: a field that the TRL config does not have, or a value that it refuses.
    """
    known = {f.name for f in fields(kind) if f.init}
    for name in config.trainer:
        if name not in known:
            raise WrongUse(f"trainer field {name!r}", "no such field", f"a field of TRL's {kind.__name__}", _hint(name, known))
    values = {**_machine_defaults(), "output_dir": str(config.output / "checkpoints"), **config.trainer}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise WrongUse(f"TRL's {kind.__name__}", f"{error}", "values that it takes", "Correct the field.") from error


def _hint(name: str, known: set[str]) -> str:
    return did_you_mean(name, known).split(" Known:")[0] + " See TRL's documentation for all of them."


def _machine_defaults() -> dict[str, Any]:
    """TRL assumes a GPU: bf16 and recomputed activations, both slower than plain fp32 on a CPU."""
    import torch  # noqa: PLC0415

    quiet = {"report_to": "none", "save_strategy": "no"}
    if torch.cuda.is_available():
        return quiet
    return {**quiet, "bf16": False, "gradient_checkpointing": False, "use_cpu": True, "dataloader_pin_memory": False}


def peft_config(config: TrainConfig, task_type: str = "CAUSAL_LM") -> Any:
    """The LoraConfig of peft, or None."""
    if config.lora is None:
        return None
    from peft import LoraConfig  # noqa: PLC0415

    values = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": task_type, **config.lora}
    known = {f.name for f in fields(LoraConfig) if f.init}
    for name in values:
        if name not in known:
            raise WrongUse(f"--lora {name}", "no such field", "a field of peft's LoraConfig", _hint(name, known))
    return LoraConfig(**values)
