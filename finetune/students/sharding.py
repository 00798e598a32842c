"""Weights in shards: of each parameter, and of its gradient and its state in the optimiser, every
process holds a part (torch's `fully_shard`, which accelerate calls version 2 of FSDP).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from finetune.core.rows import JsonObject
from finetune.settings import TrainConfig
from synth.core.errors import WrongUse
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from torch import nn
    from transformers import Trainer

KINDS = ("fsdp2",)
OPTION = "--sharding"
# Fields of the TRL config that ask for it.
_FIELDS = {"fsdp": True, "fsdp_config": {"version": 2}}


def sharded(config: TrainConfig, kind: str) -> TrainConfig:
    """Settings of a training whose weights are in shards.

    Raises:
        WrongUse: a kind that is none, one process, adapters, or checkpoints: nobody has tried
            those here.
    """
    if kind not in KINDS:
        raise WrongUse(
            OPTION,
            repr(kind),
            f"one of {', '.join(KINDS)}",
            "For other ways there are the fields `fsdp_config` and `deepspeed`.",
        )
    if not is_launched():
        raise WrongUse(
            OPTION,
            "one process",
            "several, which share the weights",
            "Add --processes N.",
        )
    if config.lora is not None:
        raise WrongUse(
            f"{OPTION}, --lora",
            "both",
            "one of them",
            "Adapters are small: leave --sharding out.",
        )
    for name in ("fsdp", "fsdp_config", "deepspeed", "resume_from_checkpoint"):
        _refuse(name, config.trainer.get(name))
    if config.trainer.get("save_strategy", "no") != "no":
        _refuse("save_strategy", config.trainer["save_strategy"])
    return replace(config, trainer={**config.trainer, **_FIELDS})


def _refuse(name: str, value: object) -> None:
    """Raises WrongUse where a field is set that does not go with the option."""
    if value:
        raise WrongUse(
            f"{OPTION}, trainer field {name!r}",
            f"{value!r}",
            "one of them",
            "Leave one out.",
        )


def spread(trainer: Trainer) -> JsonObject:
    """Has a trainer put its weights into shards when it begins, on CPUs too.

    accelerate shards on accelerators alone. What it does there goes through gloo on CPUs as well;
    it only has to be told. The training stops before its first step where a weight is whole.

    Returns:
        A record of it, which is filled in when the training begins: `kind`, and `held`, the
        numbers of the weights that the first process holds.
    """
    from accelerate.utils import (  # noqa: PLC0415 - seconds of imports
        DistributedType,
        FullyShardedDataParallelPlugin,
    )
    from transformers import TrainerCallback  # noqa: PLC0415

    # FullyShardedDataParallelPlugin and what the trainer asks of it are untyped.
    untyped = cast("Any", trainer)
    if not untyped.is_fsdp_enabled:
        plugin = FullyShardedDataParallelPlugin(**untyped.args.fsdp_plugin_args)
        state = untyped.accelerator.state
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = plugin
        untyped.is_fsdp_enabled = True
    record: JsonObject = {"kind": KINDS[0]}

    class Shares(TrainerCallback):  # type: ignore[misc] # transformers has no types
        """Looks at what the trainer made of the weights."""

        def on_train_begin(
            self, *_: object, model: nn.Module, **__: object
        ) -> None:
            record["held"] = held(model)

    trainer.add_callback(Shares())
    return record


def held(model: nn.Module) -> int:
    """Numbers of the weights that this process holds.

    Raises:
        WrongUse: a weight that is whole.
    """
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - seconds

    count = 0
    for name, weight in model.named_parameters():
        if not isinstance(weight, DTensor):
            raise WrongUse(
                OPTION,
                f"{name}, which every process holds whole",
                "weights in shards",
                "Leave --sharding out.",
            )
        count += weight.to_local().numel()
    return count


def save(trainer: Trainer, folder: str) -> None:
    """Saves a model in shards as one that is whole; all processes take part, and the first one
    writes.
    """
    from torch.distributed.checkpoint.state_dict import (  # noqa: PLC0415 - seconds
        StateDictOptions,
        get_model_state_dict,
    )

    model = cast("nn.Module", trainer.model)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    # accelerate asks torch to send the weights around as well, which leaves them in shards.
    whole = get_model_state_dict(model, options=options)
    for name in _tied(model):
        whole.pop(name, None)
    cast("Any", trainer)._save(folder, state_dict=whole)  # noqa: SLF001 - the one that takes weights


def _tied(model: nn.Module) -> set[str]:
    """Further names of weights that have one already: files hold each weight once."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return every - {name for name, _ in model.named_parameters()}
