"""Supervised fine-tuning of a student on kept rows: TRL's SFTTrainer for decoders, transformers'
Seq2SeqTrainer for encoder-decoders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject, RowFacts
from finetune.data import rows
from finetune.data.held_out import HeldRows, apart
from finetune.objectives.objectives import MinMax, Objective, Weighted
from finetune.objectives.weighting import read_coefficients
from finetune.settings import TrainConfig, built, peft_config, trainer_config
from finetune.students import load as student
from finetune.students import training_rows
from finetune.students.load import Learnt
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, Trainer

Weighing = tuple[Row, Objective]
OBJECTIVES = ("weighted", "unlikelihood", "min-max")


def run(
    config: TrainConfig,
    *,
    coefficients: Mapping[str, float] | None = None,
    negative_margin: float = 3.0,
    objective: str = "weighted",
    push: float = 0.2,
    learnt: Learnt | None = None,
) -> JsonObject:
    """Trains on `prompt` and `completion` (or messages, or text); the loss counts completions
    alone.

    Rows with a `weight` or a `task` (exports labelled and multitask) are trained with an objective
    of `finetune.objectives.objectives`: means of rows, task by task, the tasks of an item in one
    step. A batch then counts items, not rows. An encoder-decoder (T5) reads `prompt` and writes
    `completion`.

    Args:
        config: data, model, output, fields of the TRL config (of Seq2SeqTrainingArguments for an
            encoder-decoder).
        coefficients: of each task; None for equal shares of 1.
        negative_margin: nats a token from which on a row of negative weight pushes no longer.
        objective: what rows of negative weight do: `weighted`, `unlikelihood` or `min-max`.
        push: strength of the push of `min-max`.
        learnt: see `train_and_keep`.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss (mean nats a token), parameters,
        seconds.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    data = rows.sft_rows(config.data)
    given = rows.weighting(config.data)
    if given is None:
        if coefficients or objective != "weighted":
            todo = "Write them with `synth export DIR --to multitask`, or `labelled`."
            raise WrongUse(
                "--coefficients, --objective",
                "rows without a task or a weight",
                "rows with `task` or `weight`",
                todo,
            )
        return fit(config, data, learnt=learnt)
    tasks = sorted(set(given["tasks"]))
    shares = read_coefficients(coefficients or {}, tasks)
    numbered = {
        **given,
        "task_numbers": [tasks.index(task) for task in given["tasks"]],
    }
    weights = dict(zip(tasks, shares, strict=True))

    def known(info: JsonObject) -> Row:
        more = learnt(info) if learnt else {}
        return {"coefficients": weights, **more}

    weighing = (numbered, _objective(objective, shares, negative_margin, push))
    return fit(config, data, weighing, learnt=known)


def _objective(
    name: str, shares: Sequence[float], margin: float, push: float
) -> Objective:
    if name not in OBJECTIVES:
        raise WrongUse(
            "--objective",
            repr(name),
            f"one of {', '.join(OBJECTIVES)}",
            did_you_mean(name, OBJECTIVES),
        )
    if name == "min-max":
        return MinMax(coefficients=shares, margin=margin, beta=push)
    return Weighted(
        coefficients=shares, margin=margin, unlikelihood=name == "unlikelihood"
    )


def fit(
    config: TrainConfig,
    data: Dataset,
    weighing: Weighing | None = None,
    *,
    learnt: Learnt | None = None,
) -> JsonObject:
    """Opens the student, trains it (with the objective, where rows come with weights) and keeps it.

    Args:
        config: as of `run`.
        data: rows of `prompt` and `completion`, `messages` or `text`.
        weighing: for rows with weights: their `weights`, `task_numbers` and `ids`, and the
            objective.
        learnt: see `train_and_keep`.
    """
    _check_batches(config, weighing)
    config.shape.check(adapts=config.lora is not None)
    build = _seq2seq if student.is_seq2seq(config.model) else _decoder
    trainer, tokenizer, facts = build(config, data, weighing)
    if config.held_out is not None:
        from finetune.measuring.held_out import watch  # noqa: PLC0415 - torch

        watch(trainer, config, tokenizer, facts["template"])
    return student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=facts, learnt=learnt
    )


def _check_batches(config: TrainConfig, weighing: Weighing | None) -> None:
    """Refuses a budget of tokens where batches are of other things than rows of a decoder."""
    if config.tokens_per_batch is None:
        return
    both_sides = student.is_seq2seq(config.model)
    if both_sides or weighing is not None:
        got = (
            "an encoder-decoder"
            if both_sides
            else "rows with a weight or a task"
        )
        raise WrongUse(
            f"--tokens-per-batch {config.tokens_per_batch}",
            got,
            "rows of a decoder that count alike",
            "Give --per-device-train-batch-size.",
        )


def _decoder(
    config: TrainConfig, data: Dataset, weighing: Weighing | None
) -> tuple[Trainer, PreTrainedTokenizerBase, JsonObject]:
    # 8 s of imports.
    from trl import SFTConfig  # noqa: PLC0415

    from finetune.students.shaping import shape_student  # noqa: PLC0415

    args = trainer_config(
        SFTConfig, config, "sft" if weighing is None else "sft, weighted"
    )
    if weighing is not None and (args.packing or args.loss_type != "nll"):
        todo = "Leave them out, or take the columns `weight` and `task` out of the rows."
        raise WrongUse(
            "--packing, --loss-type",
            "one of them",
            "rows one by one under plain likelihood",
            todo,
        )
    model, tokenizer = student.open_student(config, data, args.seed)
    shape_student(model, config, args.world_size)
    made = training_rows.for_sft(config, args, data, tokenizer)
    options = {
        "model": model,
        "args": args,
        "train_dataset": training_rows.dataset(made),
        "processing_class": tokenizer,
        "peft_config": peft_config(config, model),
    }
    held = training_rows.held_out(config, args, tokenizer, made)
    facts = made.record()
    if held is not None:
        options["eval_dataset"] = training_rows.dataset(held)
        facts |= held.record()
    if weighing is None:
        training_rows.cut_already(args)
        return built(_kind(config, options), **options), tokenizer, facts
    from finetune.trainers.weighted import WeightedTrainer  # noqa: PLC0415 - as above

    given = training_rows.chosen(weighing[0], made)
    trainer = built(
        WeightedTrainer,
        given=given,
        objective=weighing[1],
        held=_facts_of(held, weighing[0]),
        **options,
    )
    return trainer, tokenizer, facts


def _facts_of(held: HeldRows | None, learnt: RowFacts) -> RowFacts | None:
    """Weights, task numbers and ids of rows held out, of the tasks that are learnt; None where no
    rows are held out.

    Raises:
        WrongUse: a task that no training row has.
    """
    if held is None:
        return None
    given = rows.weighting(held.data)
    if given is None:
        count = rows.load(held.data).num_rows
        given = {
            "weights": [1.0] * count,
            "tasks": [""] * count,
            "ids": list(map(str, range(count))),
        }
    tasks = sorted(set(learnt["tasks"]))
    left = training_rows.chosen(given, held)
    for number, task in enumerate(left["tasks"], 1):
        if task not in tasks:
            raise WrongUse(
                f"--held-out {held.data} row {number}",
                f"task = {task!r}",
                f"one of {', '.join(map(repr, tasks))}",
                "Give it a task of the training rows, or leave it out.",
            )
    return {**left, "task_numbers": [tasks.index(t) for t in left["tasks"]]}


def _kind(config: TrainConfig, options: JsonObject) -> type[Trainer]:
    """The trainer of rows that count alike; its own options are added."""
    if config.tokens_per_batch is None:
        from trl import SFTTrainer  # noqa: PLC0415 - as above

        return cast("type[Trainer]", SFTTrainer)
    from finetune.trainers.token_batches import TokenBatchTrainer  # noqa: PLC0415

    options["tokens_per_batch"] = config.tokens_per_batch
    return TokenBatchTrainer


def _seq2seq(
    config: TrainConfig, data: Dataset, weighing: Weighing | None
) -> tuple[Trainer, PreTrainedTokenizerBase, JsonObject]:
    from transformers import (  # noqa: PLC0415
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
    )

    config.shape.refuse("an encoder-decoder")
    rows.columns(data, ("prompt", "completion"), config.data)
    args = trainer_config(
        Seq2SeqTrainingArguments,
        config,
        "sft, encoder-decoder" + ("" if weighing is None else ", weighted"),
    )
    model, tokenizer = student.open_student(config, data, args.seed)
    made, facts = student.read_sides(data, tokenizer, config.template)
    if (adapters := peft_config(config, model, "SEQ_2_SEQ_LM")) is not None:
        from peft import get_peft_model  # noqa: PLC0415 - as above

        model = get_peft_model(model, adapters)
    options = {
        "model": model,
        "args": args,
        "processing_class": tokenizer,
        "train_dataset": made,
    }
    options["data_collator"] = DataCollatorForSeq2Seq(tokenizer, model=model)
    held = None
    if config.held_out is not None:
        source = config.held_out.data
        sides = rows.columns(
            rows.sft_rows(source), ("prompt", "completion"), source
        )
        theirs, _ = student.read_sides(sides, tokenizer, config.template)
        held = apart(source, theirs, made)
        held = held._replace(positions=range(len(theirs)))
        options["eval_dataset"] = held.rows
        facts |= held.record()
    if weighing is None:
        return built(Seq2SeqTrainer, **options), tokenizer, facts
    from finetune.trainers.weighted import WeightedSeq2SeqTrainer  # noqa: PLC0415 - as above

    return (
        built(
            WeightedSeq2SeqTrainer,
            given=weighing[0],
            objective=weighing[1],
            held=_facts_of(held, weighing[0]),
            **options,
        ),
        tokenizer,
        facts,
    )
