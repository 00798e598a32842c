"""Preference optimisation of a student, with TRL's trainers: DPO in all its losses, KTO, CPO (also
SimPO) and ORPO.
"""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import preference_rows, rows
from finetune.data.held_out import apart
from finetune.settings import (
    TrainConfig,
    built,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students import scratch
from synth.core.errors import WrongUse
from synth.core.records import Row, canonical_json

if TYPE_CHECKING:
    from datasets import Dataset

# Method -> module, configuration, trainer. CPO with --loss-type simpo --cpo-alpha 0 is SimPO; with
# hinge and a length-normalised likelihood it is the ranking loss of PLaD (arXiv:2406.02886).
METHODS = {
    "dpo": ("trl", "DPOConfig", "DPOTrainer"),
    "kto": ("trl", "KTOConfig", "KTOTrainer"),
    "cpo": ("trl.experimental.cpo", "CPOConfig", "CPOTrainer"),
    "orpo": ("trl.experimental.orpo", "ORPOConfig", "ORPOTrainer"),
}
_WITH_REFERENCE = ("dpo", "kto")


def run(config: TrainConfig, *, method: str = "dpo") -> JsonObject:
    """Trains on `prompt`, `chosen`, `rejected`, or on pairs of a run's kept and dropped draws; KTO
    on `prompt`, `completion`, `label`.

    Start from a student that has converged: these losses move probability between answers that it
    can already give.

    Args:
        config: data, model, output, fields of the TRL config.
        method: dpo, kto, cpo or orpo.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    if scratch.is_scratch(config.model):
        raise WrongUse(
            "--model",
            config.model,
            "a trained student",
            "Run `finetune sft` first and give its folder.",
        )
    data = _rows(config.data, method)
    module, settings, trainer_name = METHODS[method]
    room = import_module(module)  # 8 s of imports
    args = trainer_config(getattr(room, settings), config, method)
    model, tokenizer = student.load_learner(config.model, model_options(config))
    made = preference_rows.shaped(data, tokenizer, config.template, args)
    options = {
        "model": model,
        "args": args,
        "train_dataset": made.data,
        "processing_class": tokenizer,
        "peft_config": peft_config(config, model),
    }
    if (
        method in _WITH_REFERENCE
        and config.lora is None
        and not Path(config.model, "adapter_config.json").is_file()
    ):
        # TRL would open the reference anew by the name of the weights, which need not be this
        # student: it may be a part of them.
        options["ref_model"] = (
            None if args.precompute_ref_log_probs else deepcopy(model)
        )
    facts = made.record()
    held = config.held_out
    if held is not None:
        theirs = preference_rows.shaped(
            _rows(held.data, method), tokenizer, config.template, args
        )
        apart_rows = apart(held.data, list(theirs.data), made.data, _prompt_of)
        options["eval_dataset"] = theirs.data
        facts |= apart_rows.record()
    trainer = built(getattr(room, trainer_name), **options)
    if held is not None:
        from finetune.measuring.held_out import watch  # noqa: PLC0415 - torch

        watch(trainer, config, tokenizer, made.template)
    return student.train_and_keep(
        trainer, tokenizer, config, len(made.data), facts=facts
    )


def _rows(source: str, method: str) -> Dataset:
    if method == "kto":
        return rows.labelled_rows(source)
    return rows.preference_rows(source)


def _prompt_of(row: Row) -> bytes:
    return canonical_json(row["prompt"])
