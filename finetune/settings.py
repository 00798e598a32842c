"""One place where a YAML file and flags become a TRL config, with defaults that this machine can
run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from finetune.core import sharding as shards
from finetune.core.json_files import check_writable
from finetune.core.rounded_weights import require_rounding, rounding
from finetune.core.rows import JsonObject
from finetune.data.declared_fields import (
    Fields,
    as_declared,
    of_class,
    of_command,
)
from finetune.data.field_ranges import check_adapter, check_range
from finetune.data.going_on import GoingOn
from finetune.data.held_out import HeldOut
from finetune.data.prompts import RECORD, Template
from finetune.data.reporters import reporters
from finetune.data.trainer_fields import OF_COMMANDS, refuse
from synth.core.errors import WrongUse, did_you_mean
from synth.core.registry import scalar
from synth.core.strict_yaml import read_yaml
from synth.processes.ranks import is_launched, processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The one field of TRL's configs that says how a model is opened, which the commands do themselves.
_OPENING = "model_init_kwargs"
_OPENING_FLAG = "--model-init-kwargs"
_REPORT = "report_to"
# What every training begins with, on any machine.
_QUIET: JsonObject = {_REPORT: "none", "save_strategy": "no"}
_SIDES = ("sft", "sft, encoder-decoder")
# Recipe -> the commands of `trainer_fields` that it may turn out to be, by its model.
_COMMANDS = {
    "sft": _SIDES,
    "fade": _SIDES,
    "curriculum": _SIDES,
    "plad": ("sft, weighted", "sft, encoder-decoder, weighted"),
    "distill": ("distill", "distill, encoder-decoder"),
    "distill_encoder": ("distill, encoder",),
    "distill_states": ("distill, encoder",),
    "distill_heads": ("distill, encoder",),
    "new_kinds": ("distill, encoder",),
    "experts": ("distill, encoder",),
    "demonstrations": ("distill, encoder",),
    "supernet": ("distill, encoder",),
    "ctc": ("distill, encoder",),
    "mask_predict": ("distill, encoder",),
}
# Is in a student's folder while it is being saved: what stands there then is a training's own.
SAVING = "checkpoints/saving"
# What saving a student writes, whatever stood there.
_OVERWRITTEN = (
    "README.md",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "adapter_config.json",
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a student is trained to be besides its weights.

    Attributes:
        layer_drop: share (0 to below 1) of a layer's passes in training that leave it out.
        weight_bits: the weights of its layers are rounded to so many bits, 2 to 8, in every pass,
            and in the student that is saved; None for as they are.
        student_bits: 8 or 4: the weights under `lora` are rounded as they are read, and stay; None
            for as they are.
    """

    layer_drop: float = 0.0
    weight_bits: int | None = None
    student_bits: int | None = None

    def given(self) -> Iterator[tuple[str, str]]:
        """(flag, value) of what was said."""
        for name, value in vars(self).items():
            if value:
                yield f"--{name.replace('_', '-')}", f"{value:g}"

    def refuse(self, found: str) -> None:
        """Refuses a shape of another model than those that can have one.

        Raises:
            WrongUse: with what was found.
        """
        for flag, value in self.given():
            raise WrongUse(
                f"{flag} {value}",
                found,
                "a decoder, or an encoder of --task",
                "Leave it out.",
            )

    def check(self, *, adapts: bool) -> None:
        """Refuses what does not go together.

        Args:
            adapts: whether adapters are trained.

        Raises:
            WrongUse: weights under adapters that would have to move, or rounded ones that would.
        """
        if self.weight_bits is not None and adapts:
            raise WrongUse(
                f"--weight-bits {self.weight_bits}",
                "with --lora",
                "weights that are trained",
                "Leave one of them out; --student-bits rounds what adapters stand upon.",
            )
        if self.student_bits is None:
            return
        flag = f"--student-bits {self.student_bits}"
        if not adapts:
            raise WrongUse(
                flag,
                "without --lora",
                "adapters, since rounded weights stay as they are",
                "Give --lora too, or --weight-bits, which trains all weights.",
            )
        require_rounding(flag, "leave it out")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every training command is told.

    Attributes:
        data: run folder, exported folder or file, or dataset name.
        model: a path, a hub name, or scratch:SIZE.
        output: where the student goes.
        trainer: fields of the TRL config, by their own names.
        lora: fields of peft's LoraConfig; None trains all weights.
        template: whether rows go through the student's chat template: `auto` (messages do),
            `always` or `never`.
        held_out: rows that are measured while it trains; None for none.
        tokens_per_batch: tokens of a batch on one process, padding included; None for batches of
            `per_device_train_batch_size` rows.
        shape: layers that are dropped, weights that are rounded.
        going_on: what becomes of the optimizer.
        sharding: `fsdp2` or `zero3`: each of several processes holds a part of every weight; None
            for all of them.
    """

    data: str
    model: str
    output: Path
    trainer: Mapping[str, object] = field(default_factory=dict)
    lora: Mapping[str, object] | None = None
    template: Template = "auto"
    held_out: HeldOut | None = None
    tokens_per_batch: int | None = None
    shape: Shape = field(default_factory=Shape)
    going_on: GoingOn = field(default_factory=GoingOn)
    sharding: str | None = None


def read_config(
    path: str | Path | None, flags: Mapping[str, object]
) -> JsonObject:
    """Fields of a YAML file, overruled by flags; numbers written as text (5e-3) become numbers."""
    from_file = read_yaml(Path(path))[0] if path else {}
    return {
        name: scalar(value) if isinstance(value, str) else value
        for name, value in {**from_file, **flags}.items()
    }


def check_output(folder: Path) -> None:
    """Checks that a student may be saved into a folder; writes nothing.

    Raises:
        WrongUse: a file, or a folder with a model, a tokenizer or a README that no training here
            wrote: they would be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise WrongUse(
            str(folder),
            "a file",
            "a folder to save the student into",
            "Give another --output.",
        )
    check_writable(folder)
    names = (
        sorted(path.name for path in folder.iterdir())
        if folder.is_dir()
        else []
    )
    ours = (
        RECORD in names
        or (folder / SAVING).is_file()
        or any(name.startswith("checkpoint-") for name in names)
    )
    theirs = [
        name
        for name in names
        if name in _OVERWRITTEN or name.endswith((".safetensors", ".bin"))
    ]
    if theirs and not ours:
        got = f"{', '.join(theirs[:3])}, which no training here wrote"
        raise WrongUse(
            str(folder),
            got,
            "an empty folder, or one of an earlier training",
            "Give another --output.",
        )


_NEWER_NAMES = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}


def trainer_config(kind: type[Any], config: TrainConfig, command: str) -> Any:
    """The TRL config of a run.

    Args:
        kind: its class.
        config: with fields of it; `model_init_kwargs` are not among those that it gets (see
            `model_options`).
        command: of `trainer_fields`.

    Raises:
        WrongUse: a field that the TRL config does not have or the command does not obey, or a value
            that it refuses.
    """
    check_output(config.output)
    check_budget(config)
    shards.check(config.sharding, config.trainer, processes())
    _check_shape_of_shards(config)
    config.going_on.check(config.sharding)
    if config.lora is not None:
        adapter_fields(config)
    held = config.held_out
    defaults = {
        **_machine_defaults(),
        **(held.fields(config.trainer) if held else {}),
    }
    given = _checked(
        config.trainer,
        command,
        (kind.__name__, of_class(kind)),
        defaults,
        held_out=held is not None,
    )
    values = {
        **defaults,
        "output_dir": str(config.output / "checkpoints"),
        **given,
        **shards.fields(config.sharding, command),
    }
    try:
        made = kind(**_renamed(values, kind))
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"TRL's {kind.__name__}",
            f"{error}",
            "values that it takes",
            "Correct the field.",
        ) from error
    # An environment may name more of them.
    made.report_to = reporters(given.get(_REPORT))
    if config.sharding == "fsdp2":
        shards.begin(made)
    return made


def _renamed(values: JsonObject, kind: type[Any]) -> JsonObject:
    """Values under the names that a newer transformers has for them, where the class knows these:
    under the older ones it warns at every training.
    """
    known = {one.name for one in fields(kind)}
    renamed = dict(values)
    for old, new in _NEWER_NAMES.items():
        if old in renamed and new in known:
            renamed.setdefault(new, renamed.pop(old))
    return renamed


def _check_shape_of_shards(config: TrainConfig) -> None:
    """Refuses what would need a whole weight where every process holds a part.

    Raises:
        WrongUse: which option.
    """
    if config.sharding is None:
        return
    found = [f"{flag} {value}" for flag, value in config.shape.given()]
    if config.held_out is not None and config.held_out.answers:
        found.append("--measure exact_match")
    if found:
        raise WrongUse(
            f"{shards.OPTION} {config.sharding}",
            f"with {', '.join(found)}",
            "a training that needs no weight whole",
            "Leave one of them out.",
        )


def check_fields(
    recipe: str, trainer: Mapping[str, object], held_out: HeldOut | None = None
) -> None:
    """Refuses fields of a trainer before it is loaded, as `trainer_config` does once it is.

    A recipe that trains models of several kinds takes what one of their configs takes.

    Args:
        recipe: of `finetune.recipes`, or a method of `dpo`.
        trainer: fields by name.
        held_out: rows that are measured while it trains.

    Raises:
        WrongUse: see `trainer_config`.
    """
    refusals = []
    set_too = held_out.fields(trainer) if held_out else {}
    for command in _COMMANDS.get(recipe, (recipe,)):
        config = of_command(command)
        if not config[1]:
            return
        try:
            _checked(
                trainer,
                command,
                config,
                {**_QUIET, **set_too},
                held_out=held_out is not None,
            )
        except WrongUse as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def _checked(
    trainer: Mapping[str, object],
    command: str,
    config: tuple[str, Fields],
    defaults: JsonObject,
    *,
    held_out: bool,
) -> JsonObject:
    """Fields that a config (its name and fields) has and a command obeys, each of the kind that is
    declared.
    """
    kind, declared = config
    given = {name: trainer[name] for name in trainer if name != _OPENING}
    for name in given:
        if name not in declared:
            raise WrongUse(
                f"trainer field {name!r}",
                "no such field",
                f"a field of TRL's {kind}",
                _hint(name, {*declared}),
            )
    refuse(given, command, declared, beside=defaults, held_out=held_out)
    reporters(given.get(_REPORT))
    made: JsonObject = {}
    for name, value in given.items():
        where = f"trainer field {name!r}"
        made[name] = as_declared(where, value, declared[name].kind)
        check_range(name, made[name])
    return made


# Fields that say otherwise how rows come into batches.
_BATCHES = (
    "per_device_train_batch_size",
    "train_sampling_strategy",
    "auto_find_batch_size",
    "dataloader_drop_last",
    "packing",
)


def check_budget(config: TrainConfig) -> None:
    """Refuses fields that a budget of tokens a batch leaves nothing to say.

    Raises:
        WrongUse: which field.
    """
    if config.tokens_per_batch is None:
        return
    for name in _BATCHES:
        value = config.trainer.get(name)
        if value:
            raise WrongUse(
                f"--tokens-per-batch {config.tokens_per_batch}",
                f"with --{name.replace('_', '-')} {value}",
                "one way to make batches",
                "Leave one of them out.",
            )


def refuse_of_stages(trainer: Mapping[str, object]) -> None:
    """Refuses what a recipe of several trainings cannot do, before the first of them.

    Raises:
        WrongUse: which field, and what to do instead.
    """
    for name, todo in OF_COMMANDS["stages"].items():
        if trainer.get(name):
            raise WrongUse(
                f"trainer field {name!r}",
                f"{trainer[name]!r}",
                "a field of a single training",
                todo,
            )


def built(kind: type[Any], **options: object) -> Any:
    """A trainer; what its class says against its settings is said as a mistake of the call.

    Raises:
        WrongUse: settings that do not go together, or a package that is not there.
    """
    try:
        return kind(**options)
    except (ImportError, ValueError) as error:
        raise WrongUse(
            "the trainer",
            str(error),
            "settings that go together",
            "Correct the field.",
        ) from error


def model_options(config: TrainConfig) -> JsonObject:
    """How the student's weights are opened: `model_init_kwargs`, as `from_pretrained` takes them
    (`{"dtype": "float32"}`).

    Raises:
        WrongUse: no mapping, code of the model's own, or a student that is not opened but made.
    """
    given = config.trainer.get(_OPENING)
    bits = config.shape.student_bits
    if given is None and bits is None:
        return {}
    options = _opening({} if given is None else given)
    if bits is not None:
        dtype = options.get("dtype")
        known = None if dtype in (None, "auto") else str(dtype)
        options["quantization_config"] = rounding(bits, known)
    if config.model.startswith("scratch:"):
        raise WrongUse(
            "--dtype, --model-init-kwargs, --student-bits",
            f"--model {config.model}",
            "a model that is opened",
            "Leave it out: this one is made.",
        )
    return options


def opened_in(dtype: str, given: object = None) -> JsonObject:
    """`model_init_kwargs` with the type of the weights.

    Args:
        dtype: "auto" or a type of torch.
        given: what `model_init_kwargs` says already.

    Raises:
        WrongUse: see `model_options`.
    """
    return {**_opening({} if given is None else given), "dtype": dtype}


def _opening(given: object) -> JsonObject:
    try:
        options = (
            json.loads(given)
            if isinstance(given, str)
            else dict(cast("Mapping[str, object]", given))
        )
    except (TypeError, ValueError) as error:
        raise WrongUse(
            _OPENING_FLAG,
            repr(given),
            "a mapping",
            'For example \'{"dtype": "float32"}\'.',
        ) from error
    if not isinstance(options, dict) or options.get("trust_remote_code"):
        raise WrongUse(
            _OPENING_FLAG,
            repr(given),
            "fields of from_pretrained, without code of the model's own",
            "Correct it.",
        )
    return options


def _hint(name: str, names: set[str]) -> str:
    return (
        did_you_mean(name, names).split(" Known:")[0]
        + " See TRL's documentation for all of them."
    )


def _machine_defaults() -> JsonObject:
    """TRL assumes a GPU: bf16 and recomputed activations, both slower than plain fp32 on a CPU."""
    import torch  # noqa: PLC0415

    quiet = dict(_QUIET)
    if torch.cuda.is_available():
        return quiet
    if is_launched():
        quiet["ddp_backend"] = "gloo"
    return {
        **quiet,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }


def adapter_fields(config: TrainConfig) -> JsonObject:
    """Fields of peft's LoraConfig: the user's, and what stands for others.

    Raises:
        WrongUse: a field that it does not have, or a value that makes no sense.
    """
    from peft import LoraConfig  # noqa: PLC0415

    values: JsonObject = {
        "r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "target_modules": "all-linear",
        **(config.lora or {}),
    }
    types = {f.name: str(f.type) for f in fields(LoraConfig) if f.init}
    for name, value in values.items():
        if name not in types:
            raise WrongUse(
                f"--lora {name}",
                "no such field",
                "a field of peft's LoraConfig",
                _hint(name, {*types}),
            )
        values[name] = as_declared(f"--lora {name}", value, types[name])
        check_adapter(f"--lora {name}", name, values[name])
    return values


def peft_config(
    config: TrainConfig,
    model: PreTrainedModel,
    task_type: str = "CAUSAL_LM",
) -> Any:
    """The LoraConfig of peft, or None.

    Args:
        config: with the adapters' fields.
        model: that gets them.
        task_type: what peft calls its task.

    Raises:
        WrongUse: fields that peft refuses, or a rank beyond the model's width.
    """
    if config.lora is None:
        return None
    from peft import LoraConfig  # noqa: PLC0415

    values = {"task_type": task_type, **adapter_fields(config)}
    ranks = [values["r"], *(values.get("rank_pattern") or {}).values()]
    check_rank("--lora r", max(ranks), model)
    try:
        return LoraConfig(**values)
    except (TypeError, ValueError) as error:
        raise WrongUse(
            "--lora",
            f"{error}",
            "values that peft's LoraConfig takes",
            "Correct the field.",
        ) from error


def check_rank(where: str, rank: int, model: PreTrainedModel) -> None:
    """Refuses adapters of a rank beyond a model's width, which would learn no more than its whole
    weights and take more memory than these.

    Raises:
        WrongUse: where, the rank and the width.
    """
    width = getattr(model.config.get_text_config(), "hidden_size", None)
    if width is not None and rank > width:
        raise WrongUse(
            where,
            f"{rank}",
            f"a rank up to {width}, the model's width",
            "Lower it, or leave it out to train all weights.",
        )
