"""Weights in shards: of each parameter, and of its gradient and its state in the optimiser, every
process holds a part. `fsdp2` is torch's `fully_shard`, which accelerate calls version 2 of FSDP;
`zero3` is the third stage of DeepSpeed's ZeRO.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from finetune.core.rows import JsonObject
from synth.core.errors import WrongUse
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import Trainer, TrainingArguments

KINDS = ("fsdp2", "zero3")
OPTION = "--sharding"
# Commands of `trainer_fields` whose weights have been in shards in a test.
COMMANDS = ("sft", "distill", "dpo", "kto", "cpo", "orpo", "retriever")
# Fields of a trainer that say otherwise what shards are, and what a checkpoint holds of them.
_OWN = ("fsdp", "fsdp_config", "deepspeed", "save_only_model")
# Each process writes its share of a checkpoint, and reads it again; the optimizer's is among it.
_FSDP2: JsonObject = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "state_dict_type": "SHARDED_STATE_DICT"},
    "save_only_model": False,
}
_ZERO3: JsonObject = {
    "deepspeed": {
        "zero_optimization": {
            "stage": 3,
            # The student is saved whole.
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }
}


def check(kind: str | None, trainer: Mapping[str, object], count: int) -> None:
    """Refuses shards that a training cannot have, before anything of it is loaded or begun.

    Args:
        kind: one of `KINDS`; None for none.
        trainer: fields that are given.
        count: processes that train together.

    Raises:
        WrongUse: a kind that is none, one process, a field that says the same otherwise, or
            DeepSpeed where it is not installed or has no GPU.
    """
    if kind is None:
        return
    if kind not in KINDS:
        raise WrongUse(
            OPTION,
            repr(kind),
            f"one of {', '.join(KINDS)}",
            "For other ways there are the fields `fsdp_config` and `deepspeed`.",
        )
    if count < 2:
        raise WrongUse(
            f"{OPTION} {kind}",
            "one process",
            "several, which share the weights",
            "Add --processes N.",
        )
    for name in _OWN:
        if trainer.get(name):
            raise WrongUse(
                f"{OPTION} {kind}, trainer field {name!r}",
                f"{trainer[name]!r}",
                "one of them",
                "Leave one out.",
            )
    if kind == "zero3":
        _check_deepspeed()


def _check_deepspeed() -> None:
    """Raises WrongUse where DeepSpeed cannot run."""
    import torch  # noqa: PLC0415 - seconds of imports

    where = f"{OPTION} zero3"
    if not torch.cuda.is_available():
        raise WrongUse(
            where,
            "a machine without a GPU",
            "a GPU for each process: DeepSpeed's optimiser runs on no CPU here",
            f"Give {OPTION} fsdp2, which runs on CPUs too.",
        )
    if find_spec("deepspeed") is None:
        raise WrongUse(
            where,
            "no package deepspeed",
            "DeepSpeed, which shares the weights",
            f"pip install deepspeed, or give {OPTION} fsdp2.",
        )


def fields(kind: str | None, command: str) -> JsonObject:
    """Fields of a trainer's config that put its weights into shards; {} of no kind.

    Args:
        kind: one of `KINDS`; None for none.
        command: of `trainer_fields`.

    Raises:
        WrongUse: a command that was never tried with shards.
    """
    if kind is None:
        return {}
    if command not in COMMANDS:
        raise WrongUse(
            f"{OPTION} {kind}",
            f"a training of the kind {command!r}",
            f"one of {', '.join(COMMANDS)}",
            "Leave it out.",
        )
    return _FSDP2 if kind == "fsdp2" else _ZERO3


def begin(args: TrainingArguments) -> None:
    """Has the trainers of these settings put their weights into shards on CPUs too.

    accelerate shards on accelerators alone. What it does there goes through gloo on CPUs as well;
    its state, which all trainers of a process share, only has to say so before the first of them
    is built.
    """
    if not args.use_cpu or not is_launched():
        return
    from accelerate import Accelerator, PartialState  # noqa: PLC0415 - seconds
    from accelerate.utils import (  # noqa: PLC0415 - as above
        DistributedType,
        FullyShardedDataParallelPlugin,
    )

    # accelerate is untyped.
    untyped = cast("Any", Accelerator)
    state = untyped(mixed_precision=args.mixed_precision, cpu=True).state
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
    # Each further state takes its kind from the partial one.
    for one in (state, PartialState()):
        one.distributed_type = DistributedType.FSDP


def watch(trainer: Trainer, kind: str) -> JsonObject:
    """Has a training stop before its first step where a weight is whole.

    Returns:
        A record of it, which is filled in when the training begins: `kind`, and `held`, the
        numbers of the weights that the first process holds.
    """
    from transformers import TrainerCallback  # noqa: PLC0415 - seconds

    record: JsonObject = {"kind": kind}

    class Shares(TrainerCallback):  # type: ignore[misc] # transformers has no types
        """Looks at what the trainer made of the weights."""

        def on_train_begin(
            self, *_: object, model: nn.Module, **__: object
        ) -> None:
            record["held"] = held(model, kind)

    trainer.add_callback(Shares())
    if kind == "fsdp2":
        cast("Any", trainer).save_model = _make_folder
    return record


def _make_folder(
    folder: str,
    _internal_call: bool = False,  # the trainer's own name
) -> None:
    """What the saving of a model is where the shards of a checkpoint hold its weights.

    Every process makes the folder. A trainer asks in each of them whether that of the best
    checkpoint is there before it writes the shards: processes that saw one another begin would
    load different ones, and wait for each other without end.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)


def held(model: nn.Module, kind: str = "fsdp2") -> int:
    """Numbers of the weights that this process holds.

    Raises:
        WrongUse: a weight that is whole.
    """
    count = 0
    for name, weight in model.named_parameters():
        part = _part(weight, kind)
        if part is None:
            raise WrongUse(
                f"{OPTION} {kind}",
                f"{name}, which every process holds whole",
                "weights in shards",
                f"Leave {OPTION} out.",
            )
        count += part.numel()
    return count


def _part(weight: nn.Parameter, kind: str) -> Tensor | None:
    """What this process holds of a weight; None where that is all of it."""
    if kind == "zero3":
        # DeepSpeed's own mark.
        part: Tensor | None = getattr(weight, "ds_tensor", None)
        return part
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - seconds

    return weight.to_local() if isinstance(weight, DTensor) else None


def here(weight: nn.Parameter, kind: str | None) -> Tensor:
    """What this process holds of a weight: all of it without a kind."""
    part = None if kind is None else _part(weight, kind)
    return weight if part is None else part


def size(weight: nn.Parameter) -> int:
    """Numbers of a weight over all processes; DeepSpeed leaves an empty one in its place."""
    return int(getattr(weight, "ds_numel", weight.numel()))


def whole(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model in shards, in the first process; all of them take part."""
    from torch.distributed.checkpoint.state_dict import (  # noqa: PLC0415 - seconds
        StateDictOptions,
        get_model_state_dict,
    )

    # accelerate asks torch to send the weights around as well, which leaves them in shards.
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = get_model_state_dict(model, options=options)
    return cast("dict[str, Tensor]", found)


def save(trainer: Trainer, folder: str) -> None:
    """Saves a model in shards as one that is whole; all processes take part, and the first one
    writes.
    """
    untyped = cast("Any", trainer)
    if untyped.is_deepspeed_enabled:
        untyped.save_model(folder)
        return
    weights = whole(untyped.model)
    for name in _tied(untyped.model):
        weights.pop(name, None)
    if untyped.args.should_save:
        untyped._save(folder, state_dict=weights)  # noqa: SLF001 - the one that takes weights


def _tied(model: nn.Module) -> set[str]:
    """Further names of weights that have one already: files hold each weight once."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return every - {name for name, _ in model.named_parameters()}
