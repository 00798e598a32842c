"""White-box distillation: a student learns a teacher's probabilities, from a model in this process
or from what one wrote to disk.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import Template
from finetune.data.tokens import IGNORED, Prepared, prepared, vocabulary_digest
from finetune.settings import (
    TrainConfig,
    built,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students import scratch, training_rows
from finetune.trainers.distill_checks import checked, is_of_tokens
from finetune.trainers.distill_settings import DistillConfig
from finetune.trainers.loss_terms import Term, read_terms
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.core.arrays import TopIdArray, TopLogArray
    from finetune.teachers.across_tokenizers import AcrossTeacher, AnyTeacher
    from finetune.teachers.in_process import ModelTeacher


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
    data, of_student = _rows(config.data, distill, terms)
    if student.is_seq2seq(config.model):
        return _seq2seq(config, distill, data, terms)
    from trl import SFTConfig  # noqa: PLC0415 - 8 s of imports

    from finetune.teachers import in_process  # noqa: PLC0415
    from finetune.trainers.distill import DistillTrainer  # noqa: PLC0415

    args = trainer_config(SFTConfig, config, "distill")
    over_layers = [term for term in terms if not is_of_tokens(term.loss)]
    if args.packing:
        _check_packing(config, distill, args.packing_strategy, over_layers)
    if over_layers:
        _check_trust(config.data, over_layers[0].name)
    model, tokenizer = open_student(config, distill, data, args.seed)
    made = training_rows.for_sft(config, args, data, tokenizer)
    if of_student is not None:
        theirs = training_rows.for_sft(config, args, of_student, tokenizer)
        made = training_rows.paired(made, theirs)
    teacher = _teacher(distill, terms, tokenizer, args.device)
    if isinstance(teacher, in_process.CacheTeacher):
        teacher.cache.require(made.rows)
    learnt, held_out = _held_out(made, distill.on_policy, args.seed)
    trainer = built(
        DistillTrainer,
        model=model,
        args=args,
        train_dataset=training_rows.dataset(learnt),
        held_out=held_out,
        processing_class=tokenizer,
        peft_config=peft_config(config),
        terms=[_paired(term, teacher) for term in terms],
        teacher=teacher,
        likelihood=distill.likelihood,
        strength=distill.strength,
        on_policy=distill.on_policy,
        trust=_trust(config.data, made),
        size=len(tokenizer),
    )
    info = student.train_and_keep(
        trainer, tokenizer, config, len(data), facts=made.record()
    )
    info = {
        **info,
        "loss_function": ", ".join(distill.losses),
        "teachers": list(distill.teachers) or [distill.offline or "none"],
    }
    return student.write_info(config, info)


def _rows(
    source: str, distill: DistillConfig, terms: Sequence[Term]
) -> tuple[Dataset, Dataset | None]:
    """The rows whose texts are the teacher's; for a loss of two authors also the same with the
    student's texts, where the data have them.

    Raises:
        WrongUse: rows that cannot be read, or no texts of the student where they are needed.
    """
    from finetune.losses.contrastive import Contrastive  # noqa: PLC0415 - torch

    names = [term.name for term in terms if isinstance(term.loss, Contrastive)]
    if not names:
        return rows.sft_rows(source), None
    if {"chosen", "rejected"} <= {*rows.load(source).column_names}:
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
            f"--loss {names[0]} --data {source}",
            "rows without the student's texts",
            "`prompt`, `chosen` and `rejected`, or --on-policy 1",
            todo,
        )
    return rows.sft_rows(source), None


def _check_trust(source: str, name: str) -> None:
    """Refuses rows that say how much their teacher counts, where a loss does not ask them."""
    if "teacher_weight" in rows.load(source).column_names:
        raise WrongUse(
            f"--loss {name}",
            f"rows with `teacher_weight` in {source}",
            "losses of tokens, which alone are weighed row by row",
            "Take the column out, or the loss.",
        )


def _check_packing(
    config: TrainConfig,
    distill: DistillConfig,
    strategy: str,
    over_layers: Sequence[Term],
) -> None:
    """Refuses packing where rows must stay whole, or come one by one."""
    named = (
        distill.offline
        or "teacher_weight" in rows.load(config.data).column_names
    )
    if strategy != "bfd" and named:
        raise WrongUse(
            "--packing-strategy",
            f"{strategy}, which cuts rows",
            "whole rows, which a teacher knows by their tokens",
            "Leave it out.",
        )
    if distill.on_policy.writes or distill.on_policy.corrupt or over_layers:
        names = [f"--loss {term.name}" for term in over_layers]
        raise WrongUse(
            "--packing",
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
            device=distill.teacher_device or args.device,
            dtype=distill.teacher_dtype,
        ),
        likelihood=distill.likelihood,
        strength=distill.strength * term.weight,
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

    source = next(iter((*distill.teachers, distill.offline or "")))
    terms = read_terms(distill.losses)
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


def _paired(term: Term, teacher: AnyTeacher | None) -> Term:
    """The term, with the tokens that both vocabularies have where its loss wants them and was not
    told them.
    """
    from finetune.losses.hybrid import Hybrid, matched  # noqa: PLC0415 - torch

    loss = term.loss
    if not isinstance(loss, Hybrid) or loss.pairs:
        return term
    across = cast("AcrossTeacher", teacher)
    ours, theirs = (
        tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        for tokenizer in (across.tokenizer, across.own)
    )
    return replace(term, loss=replace(loss, pairs=matched(ours, theirs)))


def _teacher(
    distill: DistillConfig,
    terms: Sequence[Term],
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device | str,
) -> AnyTeacher | None:
    from finetune.teachers.across_tokenizers import AcrossTeacher  # noqa: PLC0415 - torch
    from finetune.teachers.in_process import (  # noqa: PLC0415
        CacheTeacher,
        ModelTeacher,
        SeveralTeachers,
    )

    if distill.offline:
        return CacheTeacher(distill.offline, tokenizer)
    if not distill.teachers:
        return None
    where = distill.teacher_device or device
    if not all(term.loss.same_tokenizer for term in terms):
        return AcrossTeacher(
            distill.teachers[0],
            tokenizer,
            device=where,
            dtype=distill.teacher_dtype,
        )
    made = [
        ModelTeacher(path, tokenizer, device=where, dtype=distill.teacher_dtype)
        for path in distill.teachers
    ]
    if len(made) == 1:
        return made[0]
    return SeveralTeachers(made, weigh=distill.weigh, weights=distill.weights)


def teach(
    data: str,
    teacher: str,
    output: Path,
    *,
    k: int = 64,
    most: int = 1024,
    batch: int = 16,
    template: Template = "auto",
) -> dict[str, int]:
    """Writes a teacher's k likeliest tokens at every learnt token of the rows; the same again goes
    on where it stopped.

    Args:
        data: rows as of `run`.
        teacher: a folder or a hub name.
        output: the cache's folder; the tokenizer is saved beside it.
        k: entries of a token.
        most: longest row in tokens, the --max-length of the training that will read them.
        batch: rows side by side.
        template: as the training that will read them has it.

    Returns:
        {"rows": all, "taught": of these now, "bytes": of the cache}.
    """
    import torch  # noqa: PLC0415

    from finetune.data.tokens import fingerprint  # noqa: PLC0415
    from finetune.teachers.cache import About, CacheWriter, Known  # noqa: PLC0415
    from finetune.teachers.in_process import ModelTeacher  # noqa: PLC0415

    _, tokenizer = student.load_student(teacher)
    encoded = prepared(rows.sft_rows(data), tokenizer, most, template=template)
    training_rows.say_lost(encoded, most)
    made = encoded.rows
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ModelTeacher(teacher, tokenizer, device=device)
    about = About(
        teacher=teacher,
        vocabulary=len(tokenizer),
        k=min(k, len(tokenizer)),
        tokenizer=vocabulary_digest(tokenizer),
    )
    tokenizer.save_pretrained(str(output))
    with CacheWriter(output, about) as writer:
        keyed = {
            fingerprint(row["input_ids"], row["labels"]): row for row in made
        }
        missing = [key for key in keyed if key not in writer]
        # Rows of like length stand together: little of a batch is padding.
        missing.sort(key=lambda key: len(keyed[key]["input_ids"]))
        for start in range(0, len(missing), batch):
            keys = missing[start : start + batch]
            part = [keyed[key] for key in keys]
            entries = best(model, part, about.k, tokenizer.pad_token_id)
            for key, (ids, logs) in zip(keys, entries, strict=True):
                writer.add(key, Known(ids, logs))
    return {
        "rows": len(made),
        "taught": len(missing),
        "bytes": (output / "teacher.bin").stat().st_size,
    }


def best(
    model: ModelTeacher, made: Sequence[JsonObject], k: int, pad: int
) -> list[tuple[TopIdArray, TopLogArray]]:
    """(ids, log-probabilities), [N, k] each, of a teacher at the learnt tokens of each row."""
    import torch  # noqa: PLC0415

    from finetune.losses.base_parts import whole  # noqa: PLC0415 - torch

    width = max(len(row["input_ids"]) for row in made)
    ids = []
    labels = []
    real = []
    for row in made:
        count = len(row["input_ids"])
        missing = width - count
        ids.append(row["input_ids"] + [pad] * missing)
        labels.append(row["labels"] + [IGNORED] * missing)
        real.append([1] * count + [0] * missing)
    logits_at = model.says(
        {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(real)}
    )
    entries = []
    learnt = torch.tensor(labels)[:, 1:] != IGNORED
    for number, row_mask in enumerate(learnt):
        positions = row_mask.nonzero()[:, 0] + number * (width - 1)
        tops = [
            whole(logits_at(part)).log_softmax(dim=-1).topk(k, dim=-1)
            for part in torch.split(positions, 64)
        ]
        top_ids = torch.cat([top.indices for top in tops])
        top_logs = torch.cat([top.values for top in tops]).float()
        entries.append((top_ids.cpu().numpy(), top_logs.cpu().numpy()))
    return entries
