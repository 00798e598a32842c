"""Loading a student and keeping it: the part that all trainers share."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core import sharding as shards
from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import (
    RECORD,
    Prompt,
    Template,
    in_training,
    rendered,
)
from finetune.settings import SAVING, TrainConfig, model_options
from finetune.students import adapters, scratch, truncate
from finetune.students.checkpoints import STATE, begun_at, step_of
from finetune.students.finite import check_weights, held, watch_losses
from finetune.students.kinds import check_kind, unmark
from finetune.students.number_types import opening_type
from finetune.students.opening import opening, writing
from finetune.students.optimizers import go_on
from finetune.students.optimizers import keep as keep_optimizer
from finetune.students.padding import settle_padding
from synth.cli.command_group import say
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.inputs.hub import settle_hub
from synth.inputs.names import require_there
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
    from transformers.trainer_utils import TrainOutput


# What is known of a training -> what else is.
Learnt = Callable[[JsonObject], Row]
# Options of `from_pretrained` that say which files are read.
_FILES = ("gguf_file", "revision")
_TODO = "Give a folder that a trainer saved, or a name of the hub."
# Of a side of an encoder-decoder's row, as TRL has it for decoders.
MOST_TOKENS = 1024


def open_student(
    config: TrainConfig, data: Dataset, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer): built from scratch over the data's texts, or loaded from a path or the
    hub.

    Raises:
        WrongUse: nothing to load.
    """
    options = model_options(config)
    if scratch.is_scratch(config.model):
        return scratch.build(config.model, rows.texts(data), seed)
    return load_learner(config.model, options)


def load_learner(
    model: str, options: Row | None = None, option: str = "--model"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What `load_student` opens, to be changed and saved anew.

    Args:
        model: what to open.
        options: of `from_pretrained`, such as `dtype`.
        option: that named it.

    Raises:
        WrongUse: nothing to open there, or a student of `finetune nat`, whose gates no other
            training saves.
    """
    folder = Path(model)
    if truncate.is_truncated(model):
        folder = Path(truncate.source_of(model))
    if (folder / adapters.NAT).is_file():
        raise WrongUse(
            f"{option} {model}",
            "a student of `finetune nat`, whose gates would be lost",
            "a student whose weights are all saved",
            "Train the model under it on the weighted.jsonl that stands beside it.",
        )
    return load_student(model, options)


def load_student(
    model: str, options: Row | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) from a path or the hub, LoRA adapters included, or from part of one
    (`truncate:PATH:layers=N`).

    Args:
        model: what to open.
        options: of `from_pretrained`, such as `dtype`.

    Raises:
        WrongUse: nothing to open there, or not so, or a student that writes no text.
    """
    if truncate.is_truncated(model):
        whole, tokenizer = load_student(truncate.source_of(model), options)
        return truncate.cut(whole, model), tokenizer
    given = options or {}
    check_kind(model, ("language",), f"--model {model}", "a language model")
    tokenizer = load_tokenizer(model, files_in(given))
    with opening(f"--model {model}", model, "a language model", _TODO):
        student = _model(model, given)
    return student, tokenizer


def files_in(options: Row) -> Row:
    """Those options of `from_pretrained` that say which files are read."""
    return {name: options[name] for name in _FILES if name in options}


def load_tokenizer(
    model: str, files: Row | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of what `load_student` opens, which pads with its end where it has no token for
    that.

    Args:
        model: what to open.
        files: `gguf_file` and `revision` of `from_pretrained`, where there are some.

    Raises:
        WrongUse: nothing to open there.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415

    if truncate.is_truncated(model):
        return load_tokenizer(truncate.source_of(model), files)
    with opening(f"--model {model}", model, "a language model", _TODO):
        tokenizer = AutoTokenizer.from_pretrained(model, **(files or {}))
    settle_padding(tokenizer, f"--model {model}")
    return tokenizer


def start_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """What stands before a text: its own start token, or the end of the last."""
    start: int | None = tokenizer.bos_token_id
    return tokenizer.eos_token_id if start is None else start


def _model(model: str, options: Row) -> PreTrainedModel:
    opened = {"dtype": opening_type(), **options}
    if (Path(model) / adapters.NAT).is_file():
        return _with_gates(Path(model), options)
    kind = "Seq2SeqLM" if is_seq2seq(model) else "CausalLM"
    if adapters.is_adapted(model):
        return adapters.load_adapted(model, kind, opened)
    import transformers  # noqa: PLC0415

    return getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
        model, **opened
    )


def _with_gates(folder: Path, options: Row) -> PreTrainedModel:
    """A student of `finetune nat`: its base, with two adapters and a gate on some layers."""
    from safetensors.torch import load_file  # noqa: PLC0415

    from finetune.students.gated import adapt, set_mode  # noqa: PLC0415 - torch

    settings = json.loads((folder / adapters.NAT).read_text(encoding="utf-8"))
    base = adapters.found_base(folder, settings.pop("base"))
    model = _model(base, options)
    adapt(model, **{**settings, "targets": tuple(settings["targets"])})
    model.load_state_dict(
        load_file(str(folder / "nat.safetensors")), strict=False
    )
    set_mode(model, "both")
    return model


def is_seq2seq(model: str) -> bool:
    """Whether a model reads with an encoder and writes with a decoder, as T5 does; False where
    nothing can be read there.
    """
    if scratch.is_scratch(model):
        return scratch.is_seq2seq(model)
    if truncate.is_truncated(model):
        return is_seq2seq(truncate.source_of(model))
    adapter = Path(model) / "adapter_config.json"
    from transformers import AutoConfig  # noqa: PLC0415

    try:
        if adapter.is_file():
            content = json.loads(adapter.read_text(encoding="utf-8"))
            return bool(content.get("task_type") == "SEQ_2_SEQ_LM")
        require_there("--model", model, "a language model")
        settle_hub(model)
        return bool(AutoConfig.from_pretrained(model).is_encoder_decoder)
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def read_sides(
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    template: Template = "auto",
) -> tuple[list[JsonObject], JsonObject]:
    """`input_ids` of each prompt and `labels` of each completion, which ends with the end token;
    long ones lose their ends.

    Also how the rows were read, and how many prompts and completions are cut.

    From here on the tokenizer pads behind a text: a decoder that reads labels has no mask for
    padding before them.
    """
    tokenizer.padding_side = "right"
    limit = min(tokenizer.model_max_length, MOST_TOKENS)
    chat = any(not isinstance(row["prompt"], str) for row in data)
    form = in_training(template, tokenizer, chat=chat)
    made = []
    cut = 0
    for row in data:
        prompt, special = rendered(row["prompt"], tokenizer, form)
        whole = tokenizer(prompt, add_special_tokens=special)["input_ids"]
        ids = tokenizer(
            prompt,
            add_special_tokens=special,
            truncation=True,
            max_length=limit,
        )["input_ids"]
        labels = _labels(row["completion"], tokenizer)
        cut += len(whole) > limit or len(labels) > limit
        if len(labels) > limit:
            labels = [*labels[: limit - 1], tokenizer.eos_token_id]
        made.append({"input_ids": ids, "labels": labels})
    if cut:
        lost = f"{cut:,} of {len(made):,} rows are cut off"
        say(f"{lost} at {limit} tokens of prompt or completion", err=True)
    return made, {"template": form, "cut": cut}


def _labels(
    completion: Prompt, tokenizer: PreTrainedTokenizerBase
) -> list[int]:
    """A completion's ids (of messages the last one's) and the end token."""
    if not isinstance(completion, str):
        completion = str(completion[-1]["content"])
    ids = tokenizer(text_target=completion, add_special_tokens=False)
    return [*ids["input_ids"], tokenizer.eos_token_id]


def sides(
    data: Dataset, tokenizer: PreTrainedTokenizerBase
) -> list[JsonObject]:
    """The rows of `read_sides` alone."""
    return read_sides(data, tokenizer)[0]


def train_and_keep(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    count: int,
    *,
    keep: Callable[[], None] | None = None,
    save: Callable[[Trainer, str], None] | None = None,
    facts: Row | None = None,
    learnt: Learnt | None = None,
) -> JsonObject:
    """Trains, saves the student (by `keep` where it is given) and its tokenizer, and writes
    `train.json`; returns its content. Of several processes, the first writes, and none goes on
    before it has.

    Args:
        trainer: that trains.
        tokenizer: saved beside the student.
        config: where to.
        count: rows.
        keep: saves the student in another way, in the first process.
        save: saves it in another way, in all processes, where each holds a share of the weights;
            is given the trainer and the folder.
        facts: of this training, such as the form in which rows were read.
        learnt: is given what is known by then, and gives what else is; what it writes is whole
            before the record is, which comes last.
    """
    started = time.time()
    cpu = time.process_time()
    folder = Path(trainer.args.output_dir)
    checkpoint = begun_at(trainer.args.resume_from_checkpoint, folder)
    first = step_of(checkpoint)
    if config.sharding is not None:
        facts = {
            **(facts or {}),
            "sharding": shards.watch(trainer, config.sharding),
        }
    go_on(trainer, config.going_on)
    with writing(config.output):
        result = trained(trainer, checkpoint, config.sharding)
    if config.shape.weight_bits is not None:
        from finetune.students.shaping import settle  # noqa: PLC0415 - torch

        settle(trainer.accelerator.unwrap_model(trainer.model), config.shape)
    with writing(config.output):
        _saved(trainer, tokenizer, config, keep=keep, save=save)
    weights = list(trainer.model.parameters())
    info = {
        "model": config.model,
        "data": config.data,
        "rows": count,
        "taint": rows.taint(config.data) if config.data else [],
        "steps": result.global_step,
        "loss": over_processes(trainer, result.training_loss),
        "parameters": sum(map(shards.size, weights)),
        "trainable": sum(shards.size(p) for p in weights if p.requires_grad),
        "seconds": round(time.time() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        **adapters.base_from(config.output),
        **(facts or {}),
    }
    if first:
        # The loss is a mean over the steps behind it.
        info["resumed_at"] = first
    if first == result.global_step:
        info["loss"] = None
    if config.held_out is not None:
        info["held_out"] = {**info["held_out"], **_measurements(trainer)}
    if learnt is not None:
        info |= learnt(info)
    write_info(config, info)
    if is_first_process():
        (config.output / SAVING).unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    return info


def _saved(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    *,
    keep: Callable[[], None] | None,
    save: Callable[[Trainer, str], None] | None,
) -> None:
    """Writes the student, its tokenizer, and all that was logged."""
    output = str(config.output)
    if is_first_process():
        mark = config.output / SAVING
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        # The record of an earlier training says nothing of the student that is written now.
        (config.output / RECORD).unlink(missing_ok=True)
        unmark(config.output)
    if config.sharding is not None:
        # All processes take part.
        (save or shards.save)(trainer, output)
    elif keep is None:
        trainer.save_model(output)
    elif is_first_process():
        keep()
    if is_first_process():
        tokenizer.save_pretrained(output)
        keep_optimizer(trainer, config.output, config.going_on)
        # All that was logged, for the curves of `synth view`.
        trainer.state.save_to_json(str(config.output / STATE))
        _clear(trainer, config)


# What an evaluation says of itself, not of the student.
_OF_EVALUATION = (
    *("runtime", "samples_per_second", "steps_per_second"),
    *("model_preparation_time", "num_tokens"),
)
_EVALUATED = "eval_"


def measured_in(logs: Row) -> JsonObject:
    """What a trainer's log says of rows held out, without its prefix and its speed.

    >>> measured_in({"eval_loss": 1.5, "eval_runtime": 0.2, "epoch": 1.0})
    {'loss': 1.5}
    """
    found = {}
    for name, value in logs.items():
        plain = name.removeprefix(_EVALUATED)
        if name.startswith(_EVALUATED) and plain not in _OF_EVALUATION:
            found[plain] = value
    return found


def _clear(trainer: Trainer, config: TrainConfig) -> None:
    """Takes away the best checkpoint, which is the student now, where nobody wanted checkpoints."""
    best = trainer.state.best_model_checkpoint
    if best and "save_strategy" not in config.trainer:
        shutil.rmtree(best, ignore_errors=True)


def _measurements(trainer: Trainer) -> JsonObject:
    """All measurements of a training in their order, and the one that was best where that
    mattered.
    """
    by_step: dict[int, JsonObject] = {}
    for logs in trainer.state.log_history:
        if found := measured_in(logs):
            step = logs["step"]
            place = {"step": step, "epoch": logs["epoch"]}
            by_step[step] = {**by_step.get(step, place), **found}
    record: JsonObject = {"measured": list(by_step.values())}
    args = trainer.args
    measure = args.metric_for_best_model
    if measure is not None and by_step:
        pick = max if args.greater_is_better else min
        best = pick(by_step.values(), key=itemgetter(measure))
        record["best"] = {
            "step": best["step"],
            "measure": measure,
            "value": best[measure],
            "kept": args.load_best_model_at_end,
        }
    return record


def over_processes(trainer: Trainer, loss: float) -> float:
    """The mean of what each process saw of the rows."""
    import torch  # noqa: PLC0415

    own = torch.tensor(loss, device=trainer.accelerator.device)
    return float(trainer.accelerator.reduce(own, "mean"))


def trained(
    trainer: Trainer,
    checkpoint: Path | None = None,
    sharding: str | None = None,
) -> TrainOutput:
    """Trains, from a checkpoint if there is one.

    Raises:
        WrongUse: a loss or a weight that is no finite number.
    """
    resume = None if checkpoint is None else str(checkpoint)
    if not any(weight.requires_grad for weight in trainer.model.parameters()):
        raise WrongUse(
            "--model",
            "adapters, which stay as they are",
            "a student with weights that are trained",
            "Give the model under them, or the merged one of `finetune export --to vllm`.",
        )
    watch_losses(trainer, sharding)
    try:
        result = trainer.train(resume_from_checkpoint=resume)
    except ImportError as error:
        raise WrongUse(
            "the trainer",
            str(error),
            "a package that is there",
            "Install it, or leave the setting out.",
        ) from error
    weights = held(trainer, sharding)
    check_weights(weights, result.global_step, result.training_loss)
    return result


def write_info(config: TrainConfig, info: JsonObject) -> JsonObject:
    """Writes OUTPUT/train.json and returns its content."""
    if is_first_process():
        write_json(config.output / RECORD, info)
    return info
