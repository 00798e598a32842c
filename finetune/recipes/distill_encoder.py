"""White-box distillation of encoders: DistilBERT, TinyBERT, MiniLM, XtremeDistil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.core.rows import JsonObject, without
from finetune.data import encoder_rows
from finetune.data.held_out import HeldRows, apart
from finetune.data.tokens import IGNORED
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import Task, open_head
from finetune.trainers.distill_checks import check_encoder, checked
from finetune.trainers.distill_settings import DistillConfig, self_teacher
from finetune.trainers.on_policy_settings import OnPolicy
from finetune.trainers.pruning_settings import Pruning
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase, Trainer

    from finetune.trainers.loss_terms import Term

_MOST_TOKENS = 512
# Kinds of losses that encoders do not learn by.
_DECODERS = ("filtered", "exits")


def run(
    config: TrainConfig,
    *,
    distill: DistillConfig,
    task: Task,
    masked: float,
    pruning: Pruning | None = None,
) -> JsonObject:
    """Trains an encoder on what a larger one says of the same texts, and on its layers.

    Args:
        config: data, model, output, fields of transformers' TrainingArguments.
        distill: one teacher, and losses.
        task: `mlm` (rows of `text`), `classify` (`text`, maybe `text_pair` and `label`) or `tokens`
            (`tokens`, maybe `tags`). The teacher's head is of that task, and its classes are those
            of the rows.
        masked: share of the words that are masked (`mlm`).
        pruning: how much of the student is taken out while it learns; None for nothing.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model, teacher, loss or a trainer field that cannot be used; nothing was
            trained.
    """
    check_encoder(config)
    if pruning is not None:
        pruning.check(config, task)
    terms = terms_of(config, distill)
    config.shape.check(adapts=config.lora is not None)
    data = encoder_rows.read(config.data, task)
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.students.shaping import shape_student  # noqa: PLC0415
    from finetune.teachers.in_process import (  # noqa: PLC0415
        SAME_TOKENS,
        same_tokens,
        settled,
    )

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    teacher, own = open_head(
        distill.teachers[0],
        task,
        where="--teacher",
        options=distill.opening.options(str(args.device)),
    )
    classes = None if task == "mlm" else dict(teacher.config.id2label)
    set_seed(args.seed)
    model, tokenizer = open_head(
        config.model,
        task,
        classes=classes,
        anew=True,
        options=model_options(config),
    )
    shape_student(model, config, args.world_size)
    same_tokens(distill.teachers[0], own, tokenizer, todo=SAME_TOKENS)
    tokenizer.padding_side = "right"
    most = min(_MOST_TOKENS, tokenizer.model_max_length)
    reading = (most, classes or {})
    where = f"--input {config.data}"
    made = encoder_rows.of_task(data, task, tokenizer, *reading, where=where)
    if distill.learns_labels and all(
        row.get("labels") == IGNORED for row in made
    ):
        raise WrongUse(
            "--likelihood",
            f"rows without a label in {config.data}",
            "rows with `label`",
            "Leave it out: the teacher alone is learnt from.",
        )
    held = _held_out(config, task, tokenizer, reading, made)
    kind, more = _kind(pruning)
    trainer = built(
        kind,
        model=model,
        args=args,
        train_dataset=made,
        eval_dataset=held.rows if held else None,
        processing_class=tokenizer,
        data_collator=collator(task, tokenizer, masked),
        terms=terms,
        teacher=settled(teacher, args.device, distill.opening),
        likelihood=distill.likelihood,
        likelihood_to=distill.likelihood_to,
        strength=distill.strength,
        **more,
    )
    facts = _facts(task, distill)
    if held is not None:
        from finetune.measuring.held_out import watch  # noqa: PLC0415 - torch

        facts |= held.record()
        watch(trainer, config, tokenizer, "never")
    return _trained(trainer, tokenizer, config, len(made), facts)


def _facts(task: Task, distill: DistillConfig) -> JsonObject:
    """What a record says of the task and of who taught it."""
    return {
        "task": task,
        "loss_function": ", ".join(distill.losses),
        "teachers": list(distill.teachers),
    }


def _trained(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    count: int,
    facts: JsonObject,
) -> JsonObject:
    """Trains and keeps the student; the smaller one, where it was pruned."""
    from finetune.students.shrinking import write  # noqa: PLC0415 - torch
    from finetune.trainers.pruning import PruningTrainer  # noqa: PLC0415

    if not isinstance(trainer, PruningTrainer):
        return student.train_and_keep(
            trainer, tokenizer, config, count, facts=facts
        )
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        count,
        keep=lambda: write(trainer.pruned(), str(config.output)),
        facts=facts,
        learnt=lambda _: trainer.record(),
    )


def _kind(pruning: Pruning | None) -> tuple[type[Trainer], JsonObject]:
    """The trainer, and its own options."""
    # Seconds of imports.
    from finetune.trainers.distill_encoder import EncoderDistillTrainer  # noqa: PLC0415
    from finetune.trainers.pruning import PruningTrainer  # noqa: PLC0415

    if pruning is None:
        return EncoderDistillTrainer, {}
    return PruningTrainer, {"pruning": pruning}


def _held_out(
    config: TrainConfig,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    reading: tuple[int, Mapping[int, str]],
    learnt: Sequence[JsonObject],
) -> HeldRows | None:
    """The rows that are measured; None where none are held out.

    Args:
        config: of the training.
        task: of the rows.
        tokenizer: of both models.
        reading: tokens of a row at most, and the classes by number.
        learnt: rows that are trained on.
    """
    if config.held_out is None:
        return None
    source = config.held_out.data
    data = encoder_rows.read(source, task, "--held-out")
    where = f"--held-out {source}"
    made = encoder_rows.of_task(data, task, tokenizer, *reading, where=where)
    return apart(source, made, learnt, whole_text)


def whole_text(row: Row) -> Hashable:
    """All of a text: its labels are no part of it."""
    return tuple(row["input_ids"])


def terms_of(config: TrainConfig, distill: DistillConfig) -> Sequence[Term]:
    """The losses, which an encoder can learn by.

    Raises:
        WrongUse: what an encoder has not, or several teachers.
    """
    terms = checked(distill)
    if (
        len(distill.teachers) != 1
        or self_teacher(distill.teachers) is not None
        or distill.prompt is not None
        or distill.on_policy != OnPolicy()
        or config.lora is not None
    ):
        raise WrongUse(
            "--task",
            "an encoder with several teachers, --teacher self:..., --teacher-url, "
            "--teacher-prompt, --offline, --on-policy or --lora",
            "one --teacher, and all weights of the student",
            "Leave them out.",
        )
    for term in terms:
        if (
            term.loss.compares in _DECODERS
            or term.loss.of_two_authors
            or term.name.startswith("minillm")
            or term.loss.reweighs
            or not term.loss.same_tokenizer
        ):
            raise WrongUse(
                f"--loss {term.name}",
                "a loss of decoders",
                "one of logits or of layers",
                "Take forward_kl, distilbert, hidden_mse, minilm, rkd or sinkhorn.",
            )
    return terms


def collator(
    task: Task, tokenizer: PreTrainedTokenizerBase, masked: float = 0.0
) -> Any:
    """Pads rows of a task, and says what of them counts.

    Args:
        task: of the rows.
        tokenizer: that pads.
        masked: share of the words that are masked (`mlm`).

    Raises:
        WrongUse: masked words of a tokenizer without a sign for them.
    """
    from transformers import (  # noqa: PLC0415
        DataCollatorForLanguageModeling,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
    )

    if task == "classify":
        return DataCollatorWithPadding(tokenizer)
    if task == "tokens":
        return _Words(DataCollatorForTokenClassification(tokenizer))
    if tokenizer.mask_token is None:
        raise WrongUse(
            "--task mlm",
            "a tokenizer without a mask token",
            "one of a masked language model",
            "Give --task classify or tokens, or another model.",
        )
    return _Masked(
        DataCollatorForLanguageModeling(tokenizer, mlm_probability=masked)
    )


class _Masked:
    """Draws masked words; those are what counts."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        batch = dict(self.plain(rows))
        batch["counted"] = batch["labels"] != IGNORED
        return batch


class _Words:
    """Fills `counted` up beside the labels."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        import torch  # noqa: PLC0415

        batch = dict(self.plain([without(row, ("counted",)) for row in rows]))
        counted = torch.zeros_like(batch["labels"])
        for number, row in enumerate(rows):
            counted[number, : len(row["counted"])] = torch.tensor(
                row["counted"]
            )
        batch["counted"] = counted.bool()
        return batch
