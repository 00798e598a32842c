"""White-box distillation: a student learns a teacher's probabilities, from a model in this process,
from servers, or from what one wrote to disk.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.held_out import HeldRows
from finetune.data.tokens import Prepared
from finetune.recipes.rolling import give_weights, rollouts_of
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
from finetune.trainers.distill_checks import (
    check_decoder,
    check_measures,
    check_shards,
    checked,
    is_of_tokens,
)
from finetune.trainers.distill_settings import DistillConfig, self_teacher
from finetune.trainers.loss_terms import Term
from finetune.trainers.on_policy_settings import OnPolicy
from synth.cli.command_group import say
from synth.core.errors import WrongUse
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainingArguments,
    )
    from trl import SFTConfig

    from finetune.rollouts.served_texts import ServedTexts
    from finetune.teachers.served import ServedTeacher
    from finetune.trainers.distill import DistillTrainer


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
    terms = checked(distill)
    config.shape.check(adapts=config.lora is not None)
    check_measures(config, terms)
    check_shards(config, distill, terms)
    distill = _with_base(config, distill)
    table = rows.load(config.data)
    data, of_student = _rows(config.data, table, distill, terms)
    if distill.prompt is not None:
        distill.prompt.check(table.column_names)
    if student.is_seq2seq(config.model):
        check_decoder(config)
        config.shape.refuse("an encoder-decoder")
        return _seq2seq(config, distill, data, terms)
    from trl import SFTConfig  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(SFTConfig, config, "distill")
    over_layers = [term for term in terms if not is_of_tokens(term.loss)]
    if args.packing or args.padding_free:
        sums = [term for term in terms if term.loss.reweighs]
        _check_packing(table, distill, args, [*over_layers, *sums])
    if over_layers:
        _check_trust(config.data, table, over_layers[0].name)
    served = _served(config, distill, args)
    rollouts = rollouts_of(config, distill.on_policy.rollouts)
    with ExitStack() as stack:
        if served is not None:
            stack.enter_context(closing(served))
        if rollouts is not None:
            stack.enter_context(closing(rollouts))
        return _train(
            config,
            distill,
            data,
            of_student,
            table=table,
            terms=terms,
            args=args,
            served=served,
            rollouts=rollouts,
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
    if own is not None and own.kind == "ema" and config.lora is not None:
        raise WrongUse(
            "--teacher self:ema",
            "with --lora",
            "a mean of all weights",
            "Take self:live or self:base, or train all weights.",
        )
    if own is None or own.kind != "base":
        return distill
    return replace(distill, teachers=(config.model,))


def _train(
    config: TrainConfig,
    distill: DistillConfig,
    data: Dataset,
    of_student: Dataset | None,
    *,
    table: Dataset,
    terms: Sequence[Term],
    args: SFTConfig,
    served: ServedTeacher | None = None,
    rollouts: ServedTexts | None = None,
) -> JsonObject:
    from finetune.students.shaping import shape_student  # noqa: PLC0415
    from finetune.teachers import in_process  # noqa: PLC0415
    from finetune.trainers.distill import DistillTrainer  # noqa: PLC0415
    from finetune.trainers.distill_teachers import (  # noqa: PLC0415
        opened_teacher,
        own_teacher,
        prompted_teacher,
    )

    model, tokenizer = open_student(config, distill, terms, data, args.seed)
    shape_student(model, config, args.world_size)
    made = _made(config, args, (data, of_student), tokenizer)
    measured = training_rows.held_out(config, args, tokenizer, made)
    learnt, held_out = _held_out(made, distill.on_policy, args.seed)
    asked, seen = training_rows.asked(
        distill.prompt,
        (table, data),
        (made, learnt),
        measured,
        tokenizer,
        where=f"--input {config.data}",
    )
    own = own_teacher(distill, model, len(tokenizer))
    teacher = (
        served or own or opened_teacher(distill, terms, tokenizer, args.device)
    )
    if isinstance(teacher, in_process.CacheTeacher):
        teacher.cache.require(asked.rows)
    if served is not None:
        _ask(served, distill, args, asked._replace(rows=seen))
    if distill.prompt is not None:
        both = of_student is not None or distill.on_policy.alters
        teacher = prompted_teacher(teacher, asked.rows, seen, tokenizer, both)
    training_rows.cut_already(args)
    trainer = built(
        DistillTrainer,
        model=model,
        args=args,
        train_dataset=training_rows.dataset(learnt),
        eval_dataset=training_rows.dataset(measured) if measured else None,
        held_out=held_out,
        processing_class=tokenizer,
        peft_config=peft_config(config, model),
        terms=terms,
        teacher=teacher,
        likelihood=distill.likelihood,
        strength=distill.strength,
        on_policy=distill.on_policy,
        tokens_per_batch=config.tokens_per_batch,
        trust=_trusted(config, table, learnt, measured),
        size=len(tokenizer),
        rollouts=rollouts,
    )
    if own is not None:
        trainer.add_callback(own)
    if rollouts is not None:
        give_weights(rollouts, trainer, learnt.rows)
    facts = _watched(trainer, config, tokenizer, made, measured)
    told = _told(distill, served, rollouts)
    return student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=facts, learnt=told
    )


def _told(
    distill: DistillConfig,
    served: ServedTeacher | None,
    rollouts: ServedTexts | None,
) -> student.Learnt:
    """What a record says of losses, teachers and servers once the student has trained."""

    def learnt(_: JsonObject) -> JsonObject:
        if served is not None and distill.on_policy.writes:
            say(served.word())
        return {
            **(rollouts.told() if rollouts else {}),
            "loss_function": ", ".join(distill.losses),
            "teachers": served.models if served else distill.named,
        }

    return learnt


def _watched(
    trainer: DistillTrainer,
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    made: Prepared,
    measured: HeldRows | None,
) -> JsonObject:
    """What is known of the rows; those held out are measured from now on."""
    if measured is None:
        return made.record()
    from finetune.measuring.held_out import watch  # noqa: PLC0415 - torch

    watch(trainer, config, tokenizer, made.template)
    return made.record() | measured.record()


def _made(
    config: TrainConfig,
    args: SFTConfig,
    authors: tuple[Dataset, Dataset | None],
    tokenizer: PreTrainedTokenizerBase,
) -> Prepared:
    """The rows as tokens; with the student's texts beside the teacher's where there are both."""
    data, of_student = authors
    made = training_rows.for_sft(config, args, data, tokenizer)
    if of_student is None:
        return made
    theirs = training_rows.for_sft(config, args, of_student, tokenizer)
    return training_rows.paired(made, theirs)


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
    names = {f"--input {config.data}": rows.teachers(config.data)}
    if config.held_out is not None:
        held = config.held_out.data
        names[f"--held-out {held}"] = rows.teachers(held)
    served.require(names)
    return served


def _ask(
    served: ServedTeacher,
    distill: DistillConfig,
    args: TrainingArguments,
    made: Prepared,
) -> None:
    """Asks about all rows before the first step, where steps are on rows."""
    served.route(made)
    own = distill.on_policy
    if own.writes:
        served.check_prompts()
    with args.main_process_first(desc="asking the teacher"):
        served.follow()
        if is_first_process() and own.share < 1:
            served.prepare(made.rows)
            say(served.word())


def _rows(
    source: str,
    table: Dataset,
    distill: DistillConfig,
    terms: Sequence[Term],
) -> tuple[Dataset, Dataset | None]:
    """The rows whose texts are the teacher's; for a loss of two authors also the same with the
    student's texts, where the data have them.

    Raises:
        WrongUse: rows that cannot be read, or no texts of the student where they are needed.
    """
    names = [term.name for term in terms if term.loss.of_two_authors]
    if not names:
        return rows.sft_rows(source), None
    if {"chosen", "rejected"} <= {*table.column_names}:
        pairs = rows.preference_rows(source)
        both = [
            pairs.select_columns(["prompt", side]).rename_column(
                side, "completion"
            )
            for side in ("chosen", "rejected")
        ]
        return both[0], both[1]
    own = distill.on_policy
    if own.share < 1 or own.schedule != "constant":
        todo = (
            "Give --on-policy 1, and the student writes them; or rows of `synth export DIR --to "
            "preference:other=STUDENT_RUN`, of which `chosen` is the teacher's text."
        )
        raise WrongUse(
            f"--loss {names[0]} --input {source}",
            "rows without the student's texts",
            "`prompt`, `chosen` and `rejected`, or --on-policy 1",
            todo,
        )
    return rows.sft_rows(source), None


def _check_trust(source: str, table: Dataset, name: str) -> None:
    """Refuses rows that say how much their teacher counts, where a loss does not ask them."""
    if "teacher_weight" in table.column_names:
        raise WrongUse(
            f"--loss {name}",
            f"rows with `teacher_weight` in {source}",
            "losses of tokens, which alone are weighed row by row",
            "Take the column out, or the loss.",
        )


def _check_packing(
    table: Dataset,
    distill: DistillConfig,
    args: SFTConfig,
    whole: Sequence[Term],
) -> None:
    """Refuses packing, and rows without padding between them, where rows must stay whole or come
    one by one: `whole` are losses of such rows.
    """
    strategy = args.packing_strategy
    named = (
        distill.source
        or distill.prompt
        or "teacher_weight" in table.column_names
    )
    if strategy != "bfd" and named:
        raise WrongUse(
            "--packing-strategy",
            f"{strategy}, which cuts rows",
            "whole rows, which a teacher knows by their tokens",
            "Leave it out.",
        )
    if distill.on_policy.alters or whole:
        names = [f"--loss {term.name}" for term in whole]
        raise WrongUse(
            "--packing" if args.packing else "--padding-free",
            f"with {names[0] if names else '--on-policy or --corrupt'}",
            "rows one by one",
            "Leave one of them out.",
        )


def _seq2seq(
    config: TrainConfig,
    distill: DistillConfig,
    data: Dataset,
    terms: Sequence[Term],
) -> JsonObject:
    """The same for an encoder-decoder, which learns of one decoder and of nothing else."""
    # 8 s of imports.
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainingArguments  # noqa: PLC0415

    from finetune.teachers.in_process import ModelTeacher  # noqa: PLC0415
    from finetune.trainers.distill_seq2seq import Seq2SeqDistillTrainer  # noqa: PLC0415

    term = terms[0]
    loss = term.loss
    plain = (
        len(terms) == len(distill.teachers) == 1
        and self_teacher(distill.teachers) is None
        and distill.prompt is None
        and distill.on_policy == OnPolicy()
        and is_of_tokens(loss)
        and loss.same_tokenizer
        and not loss.reweighs
        and not term.moves
        and not config.lora
    )
    if not plain or type(loss).__name__ == "Taid":
        todo = (
            "Give one --teacher with the student's tokenizer and one loss of tokens, without "
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
    model, tokenizer = open_student(config, distill, terms, data, args.seed)
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
        strength=distill.strength * term.weight,
        size=len(tokenizer),
    )
    return student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=facts
    )


def open_student(
    config: TrainConfig,
    distill: DistillConfig,
    terms: Sequence[Term],
    data: Dataset,
    seed: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student; one from scratch gets the tokenizer of the teacher that it will learn from."""
    if not scratch.is_scratch(config.model):
        return student.load_learner(config.model, model_options(config))
    from transformers import AutoTokenizer  # noqa: PLC0415

    source = next(iter((*distill.teachers, distill.offline or "")))
    shares = (
        all(term.loss.same_tokenizer for term in terms)
        and Path(source, "tokenizer.json").is_file()
    )
    tokenizer = AutoTokenizer.from_pretrained(source) if shares else None
    return scratch.build(
        config.model, rows.texts(data), seed, tokenizer=tokenizer
    )


def _held_out(
    made: Prepared, own: OnPolicy, seed: int
) -> tuple[Prepared, list[JsonObject]]:
    """The rows to learn, and those that are held out: drawn by the seed.

    Raises:
        WrongUse: a share of which none, or all, are held out.
    """
    if not own.adapts:
        return made, []
    count = round(own.hold_out * len(made.rows))
    if not 0 < count < len(made.rows):
        raise WrongUse(
            f"--hold-out {own.hold_out:g}",
            f"{count} of {len(made.rows)} rows",
            "one row at least on each side",
            "Give another share.",
        )
    chosen = set(random.Random(seed).sample(range(len(made.rows)), count))
    kept = [n for n in range(len(made.rows)) if n not in chosen]
    learnt = made._replace(
        rows=[made.rows[n] for n in kept],
        positions=[made.positions[n] for n in kept],
    )
    return learnt, [made.rows[n] for n in sorted(chosen)]


def _trusted(
    config: TrainConfig,
    table: Dataset,
    learnt: Prepared,
    measured: HeldRows | None,
) -> dict[bytes, float]:
    """How much the teacher counts on each row, learnt or measured."""
    found = {}
    if measured is not None:
        theirs = rows.load(measured.data)
        found = _trust(measured.data, theirs, measured)
    return found | _trust(config.data, table, learnt)


def _trust(
    source: str, table: Dataset, made: Prepared | HeldRows
) -> dict[bytes, float]:
    """The same of the rows of one file, by the row's fingerprint; {} where they do not say."""
    from finetune.data.tokens import fingerprint  # noqa: PLC0415

    if "teacher_weight" not in table.column_names:
        return {}
    weights = rows.numbers(table["teacher_weight"], "teacher_weight", source)
    return {
        fingerprint(row["input_ids"], row["labels"]): weights[position]
        for row, position in zip(made.rows, made.positions, strict=True)
    }
