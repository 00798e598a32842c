"""White-box distillation: a student learns a teacher's probabilities, from a model in this process,
from servers, or from what one wrote to disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.tokens import Prepared
from finetune.settings import (
    TrainConfig,
    built,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students import scratch, training_rows
from finetune.teachers.served_settings import FOLDER
from finetune.trainers.distill_settings import (
    DistillConfig,
    check_parts,
    check_prompts,
    self_teacher,
    unused,
)
from finetune.trainers.on_policy_settings import OnPolicy
from synth.cli.command_group import say
from synth.core import registry
from synth.core.errors import WrongUse
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainingArguments,
    )
    from trl import SFTConfig

    from finetune.losses.base_crossing import TrainingLoss
    from finetune.teachers.across_tokenizers import AcrossTeacher, AnyTeacher
    from finetune.teachers.in_process import Teacher
    from finetune.teachers.own import OwnTeacher
    from finetune.teachers.prompted import PromptedTeacher
    from finetune.teachers.served import ServedTeacher


def run(config: TrainConfig, *, distill: DistillConfig) -> JsonObject:
    """Trains on rows as `finetune sft` reads them; the loss counts completions alone.

    A column `teacher_weight` says how much the teacher counts on a row (its likelihood term is not
    touched), as `finetune nat` writes it.

    Args:
        config: data, model, output, fields of TRL's SFTConfig.
        distill: teachers and loss.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model, teacher, loss or a trainer field that cannot be used; nothing was
            trained.
    """
    loss = _checked(distill)
    distill = _with_base(config, distill)
    data = rows.sft_rows(config.data)
    if distill.prompt is not None:
        distill.prompt.check(rows.load(config.data).column_names)
    if student.is_seq2seq(config.model):
        return _seq2seq(config, distill, data, loss)
    from trl import SFTConfig  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(SFTConfig, config, "distill")
    if args.packing:
        _check_packing(config, distill, args.packing_strategy)
    served = _served(config, distill, args)
    with closing(served) if served else nullcontext():
        return _train(
            config, distill, data, loss=loss, args=args, served=served
        )


def _with_base(config: TrainConfig, distill: DistillConfig) -> DistillConfig:
    """The student's own weights as any other teacher's, where it learns from what it was."""
    own = self_teacher(distill.teachers)
    if own is not None and scratch.is_scratch(config.model):
        raise WrongUse(
            f"--teacher self:{own.kind}",
            f"--model {config.model}",
            "a student that knows something",
            "Train it first.",
        )
    if own is None or own.kind != "base":
        return distill
    return replace(distill, teachers=(config.model,))


def _train(
    config: TrainConfig,
    distill: DistillConfig,
    data: Dataset,
    *,
    loss: TrainingLoss,
    args: SFTConfig,
    served: ServedTeacher | None = None,
) -> JsonObject:
    from finetune.teachers import in_process  # noqa: PLC0415
    from finetune.trainers.distill import DistillTrainer  # noqa: PLC0415

    model, tokenizer = open_student(config, distill, data, args.seed)
    made = training_rows.for_sft(config, args, data, tokenizer)
    seen = made.rows
    if distill.prompt is not None:
        table = rows.load(config.data)
        seen = distill.prompt.seen(table, data, made, tokenizer)
    own = _own(config, distill, model, len(tokenizer))
    teacher = served or own or _teacher(distill, tokenizer, args.device)
    if isinstance(teacher, in_process.CacheTeacher):
        teacher.cache.require(made.rows)
    if served is not None:
        _ask(served, config, distill, args, made._replace(rows=seen))
    if distill.prompt is not None:
        teacher = _prompted(teacher, distill, made, seen, tokenizer)
    trainer = built(
        DistillTrainer,
        model=model,
        args=args,
        train_dataset=training_rows.dataset(made),
        processing_class=tokenizer,
        peft_config=peft_config(config),
        loss=_paired(loss, teacher),
        teacher=teacher,
        likelihood=distill.likelihood,
        strength=distill.strength,
        on_policy=distill.on_policy,
        trust=_trust(config.data, made),
        size=len(tokenizer),
    )
    if own is not None:
        trainer.add_callback(own)
    info = student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=made.record()
    )
    if served is not None and distill.on_policy.share:
        say(served.word())
    info = {
        **info,
        "loss_function": distill.loss,
        "teachers": served.models if served else distill.named,
    }
    return student.write_info(config, info)


def _own(
    config: TrainConfig,
    distill: DistillConfig,
    model: PreTrainedModel,
    size: int,
) -> OwnTeacher | None:
    """The student as its own teacher while it learns; None where it is not."""
    own = self_teacher(distill.teachers)
    if own is None or own.kind == "base":
        return None
    from finetune.teachers.own import OwnTeacher  # noqa: PLC0415 - torch

    if own.kind == "ema" and config.lora is not None:
        raise WrongUse(
            "--teacher self:ema",
            "with --lora",
            "a mean of all weights",
            "Take self:live or self:base, or train all weights.",
        )
    rate = own.rate if own.kind == "ema" else None
    return OwnTeacher(model, size, rate)


def _prompted(
    teacher: AnyTeacher,
    distill: DistillConfig,
    made: Prepared,
    seen: Sequence[JsonObject],
    tokenizer: PreTrainedTokenizerBase,
) -> PromptedTeacher:
    """The teacher behind prompts of its own."""
    from finetune.teachers.prompted import PromptedTeacher  # noqa: PLC0415 - torch

    pad = tokenizer.pad_token_id
    prompted = PromptedTeacher(
        cast("Teacher", teacher), made.rows, seen, pad or 0
    )
    if distill.on_policy.share or distill.on_policy.corrupt:
        prompted.prompts.check_prompts()
    return prompted


def _served(
    config: TrainConfig, distill: DistillConfig, args: TrainingArguments
) -> ServedTeacher | None:
    """The teachers behind servers, met before a model is loaded; None where there are none."""
    if distill.servers is None:
        return None
    from finetune.teachers.served import ServedTeacher  # noqa: PLC0415 - torch

    if scratch.is_scratch(config.model):
        raise WrongUse(
            f"--model {config.model}",
            "a student with a tokenizer of its own",
            "one with the teacher's",
            "Give a model of the teacher's family, or truncate:PATH:layers=N of one.",
        )
    tokenizer = student.load_tokenizer(config.model)
    folder = config.output / FOLDER
    # The first process asks, the others read what it was told.
    with args.main_process_first(desc="meeting the teacher"):
        served = ServedTeacher(distill.servers, tokenizer, folder)
    served.require(rows.teachers(config.data))
    return served


def _ask(
    served: ServedTeacher,
    config: TrainConfig,
    distill: DistillConfig,
    args: TrainingArguments,
    made: Prepared,
) -> None:
    """Asks about all rows before the first step, where steps are on rows."""
    served.route(made, rows.teachers(config.data))
    own = distill.on_policy.share
    if own:
        served.check_prompts()
    with args.main_process_first(desc="asking the teacher"):
        served.follow()
        if is_first_process() and own < 1:
            served.prepare(made.rows)
            say(served.word())


def _check_packing(
    config: TrainConfig, distill: DistillConfig, strategy: str
) -> None:
    """Refuses packing where rows must stay whole, or come one by one."""
    named = (
        distill.source
        or distill.prompt
        or "teacher_weight" in rows.load(config.data).column_names
    )
    if strategy != "bfd" and named:
        raise WrongUse(
            "--packing-strategy",
            f"{strategy}, which cuts rows",
            "whole rows, which a teacher knows by their tokens",
            "Leave it out.",
        )
    if distill.on_policy.share or distill.on_policy.corrupt:
        raise WrongUse(
            "--packing",
            "with --on-policy or --corrupt",
            "rows one by one",
            "Leave one of them out.",
        )


def _seq2seq(
    config: TrainConfig,
    distill: DistillConfig,
    data: Dataset,
    loss: TrainingLoss,
) -> JsonObject:
    """The same for an encoder-decoder, which learns of one decoder and of nothing else."""
    # 8 s of imports.
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainingArguments  # noqa: PLC0415

    from finetune.teachers.in_process import ModelTeacher  # noqa: PLC0415
    from finetune.trainers.distill_seq2seq import Seq2SeqDistillTrainer  # noqa: PLC0415

    plain = (
        len(distill.teachers) == 1
        and self_teacher(distill.teachers) is None
        and distill.prompt is None
        and distill.on_policy == OnPolicy()
        and loss.same_tokenizer
        and not loss.reweighs
        and not config.lora
    )
    if not plain or type(loss).__name__ == "Taid":
        todo = (
            "Give one --teacher with the student's tokenizer and another loss, without "
            "on-policy options and --lora."
        )
        raise WrongUse(
            f"--model {config.model}",
            "an encoder-decoder with options that it does not take",
            "one decoder as teacher",
            todo,
        )
    rows.columns(data, ("prompt", "completion"), config.data)
    args = trainer_config(
        Seq2SeqTrainingArguments, config, "distill, encoder-decoder"
    )
    model, tokenizer = open_student(config, distill, data, args.seed)
    made, facts = student.read_sides(data, tokenizer, config.template)
    trainer = built(
        Seq2SeqDistillTrainer,
        model=model,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        loss=loss,
        teacher=ModelTeacher(
            distill.teachers[0],
            tokenizer,
            device=args.device,
            opening=distill.opening,
        ),
        likelihood=distill.likelihood,
        strength=distill.strength,
        size=len(tokenizer),
    )
    return student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=facts
    )


def open_student(
    config: TrainConfig, distill: DistillConfig, data: Dataset, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student; one from scratch gets the tokenizer of the teacher that it will learn from."""
    if not scratch.is_scratch(config.model):
        return student.load_student(config.model, model_options(config))
    from transformers import AutoTokenizer  # noqa: PLC0415

    source = distill.teachers[0] if distill.teachers else str(distill.offline)
    shares = (
        registry.build("finetune.losses", distill.loss).same_tokenizer
        and Path(source, "tokenizer.json").is_file()
    )
    tokenizer = AutoTokenizer.from_pretrained(source) if shares else None
    return scratch.build(
        config.model, rows.texts(data), seed, tokenizer=tokenizer
    )


def _checked(distill: DistillConfig) -> TrainingLoss:
    from finetune.losses.base import TokenLoss  # noqa: PLC0415
    from finetune.losses.base_crossing import CrossLoss  # noqa: PLC0415 - torch

    loss = registry.build("finetune.losses", distill.loss, "--loss")
    if distill.teacher_smoothing > 0 and getattr(loss, "temperature", 1.0) > 1:
        # What smoothing leaves of the likeness of classes is spread further by a high temperature
        # (Chandrasegaran et al., 2022).
        warnings.warn(
            f"{distill.loss}: a teacher trained with label smoothing "
            f"{distill.teacher_smoothing:g} teaches badly above temperature 1",
            stacklevel=2,
        )
    sources = (distill.teachers, distill.offline, distill.servers)
    if sum(map(bool, sources)) != 1:
        todo = (
            "Give --teacher MODEL (several times for several), --teacher-url URL, or "
            "--offline DIR."
        )
        raise WrongUse(
            "distill",
            f"{len(distill.teachers)} teachers, --offline {distill.offline}, "
            f"{len(distill.servers.urls) if distill.servers else 0} servers",
            "one source of the teacher's probabilities",
            todo,
        )
    if distill.servers is not None:
        distill.servers.check()
    if not isinstance(loss, TokenLoss | CrossLoss):
        todo = (
            "Such losses are for training loops of your own; docs/losses.md says which are "
            "for this command."
        )
        raise WrongUse(
            f"--loss {distill.loss}",
            "a loss that is no mean over tokens",
            "one that is",
            todo,
        )
    if isinstance(loss, CrossLoss) and len(distill.teachers) != 1:
        raise WrongUse(
            f"--loss {distill.loss}",
            f"{len(distill.teachers)} teachers",
            "one --teacher",
            "Distil from them one after the other.",
        )
    own = distill.on_policy
    if distill.source:
        check_parts(distill, loss)
    distill.opening.check()
    check_prompts(distill, loss)
    for flag, beside, needs in unused(distill):
        raise WrongUse(
            flag,
            beside,
            needs,
            "Give that too, or leave the setting out: it would change nothing.",
        )
    if isinstance(loss, CrossLoss) and (own.correct or own.corrupt):
        raise WrongUse(
            "--correct, --corrupt",
            f"with {distill.loss}",
            "a teacher of the student's tokenizer",
            "Leave them out.",
        )
    if loss.reweighs and distill.likelihood:
        raise WrongUse(
            "--likelihood",
            f"with {distill.loss}, which weighs tokens itself",
            "0",
            "Leave it out.",
        )
    return loss


def _trust(source: str, made: Prepared) -> dict[bytes, float]:
    """How much the teacher counts on each row, by the row's fingerprint; {} where the rows do not
    say.
    """
    from finetune.data.tokens import fingerprint  # noqa: PLC0415

    dataset = rows.load(source)
    if "teacher_weight" not in dataset.column_names:
        return {}
    weights = rows.numbers(dataset["teacher_weight"], "teacher_weight", source)
    return {
        fingerprint(row["input_ids"], row["labels"]): weights[position]
        for row, position in zip(made.rows, made.positions, strict=True)
    }


def _paired(loss: TrainingLoss, teacher: AnyTeacher) -> TrainingLoss:
    """The loss, with the tokens that both vocabularies have where it wants them and was not told
    them.
    """
    from finetune.losses.hybrid import Hybrid, matched  # noqa: PLC0415 - torch

    if not isinstance(loss, Hybrid) or loss.pairs:
        return loss
    across = cast("AcrossTeacher", teacher)
    ours, theirs = (
        tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        for tokenizer in (across.tokenizer, across.own)
    )
    return replace(loss, pairs=matched(ours, theirs))


def _teacher(
    distill: DistillConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device | str,
) -> AnyTeacher:
    from finetune.teachers.across_tokenizers import AcrossTeacher  # noqa: PLC0415 - torch
    from finetune.teachers.in_process import (  # noqa: PLC0415
        CacheTeacher,
        ModelTeacher,
        SeveralTeachers,
    )

    if distill.offline:
        return CacheTeacher(distill.offline, tokenizer)
    if not registry.build("finetune.losses", distill.loss).same_tokenizer:
        return AcrossTeacher(
            distill.teachers[0],
            tokenizer,
            device=device,
            opening=distill.opening,
        )
    made = [
        ModelTeacher(path, tokenizer, device=device, opening=distill.opening)
        for path in distill.teachers
    ]
    if len(made) == 1:
        return made[0]
    return SeveralTeachers(made, weigh=distill.weigh, weights=distill.weights)
