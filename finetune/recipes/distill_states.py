"""An encoder of classes that also learns a language model's state of each text (LEADER)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.core.rows import JsonObject, without
from finetune.data import encoder_rows
from finetune.data.held_out import HeldRows, apart
from finetune.recipes.distill_encoder import terms_of, whole_text
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import open_head
from finetune.trainers.distill_checks import check_encoder
from finetune.trainers.distill_settings import DistillConfig
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

    from finetune.trainers.distill_states import At
    from finetune.trainers.loss_terms import Term

_MOST_TOKENS = 512
_MOST_TEACHER_TOKENS = 2048
_IDS = "teacher_ids"


def run(config: TrainConfig, *, distill: DistillConfig, at: At) -> JsonObject:
    """Trains an encoder of classes by labels, and by a language model's state of each text.

    Args:
        config: data (rows of `text`, `label`, maybe `text_pair` and `teacher_text`), model, output,
            fields of transformers' TrainingArguments.
        distill: one teacher, a decoder of any tokenizer; losses of states; a likelihood above 0.
        at: where the teacher's state is read.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model, teacher, loss or a trainer field that cannot be used; nothing was
            trained.
    """
    check_encoder(config)
    terms = terms_of(config, distill)
    _check(distill, terms)
    config.shape.check(adapts=config.lora is not None)
    data = encoder_rows.read(config.data, "classify")
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.students.shaping import shape_student  # noqa: PLC0415
    from finetune.trainers.distill_states import StateTrainer  # noqa: PLC0415

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    teacher, words = _opened(distill, args.device)
    set_seed(args.seed)
    classes = encoder_rows.classes_in(
        data, "classify", f"--input {config.data}"
    )
    model, tokenizer = open_head(
        config.model, "classify", classes=classes, options=model_options(config)
    )
    shape_student(model, config, args.world_size)
    tokenizer.padding_side = "right"
    reading = _Reading(tokenizer, words, classes)
    made = reading.rows(data, f"--input {config.data}")
    held = _held_out(config, reading, made)
    trainer = built(
        StateTrainer,
        model=model,
        args=args,
        train_dataset=made,
        eval_dataset=held.rows if held else None,
        processing_class=tokenizer,
        data_collator=_Collator(tokenizer),
        terms=terms,
        teacher=teacher,
        likelihood=distill.likelihood,
        likelihood_to=distill.likelihood_to,
        strength=distill.strength,
        at=at,
    )
    facts: JsonObject = {
        "task": "classify",
        "loss_function": ", ".join(distill.losses),
        "teachers": list(distill.teachers),
        "teacher_state": at,
    }
    if held is not None:
        facts |= _watched(held, trainer, config, tokenizer)
    return student.train_and_keep(
        trainer, tokenizer, config, len(made), facts=facts
    )


def _opened(
    distill: DistillConfig, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The teacher and its tokenizer."""
    from finetune.teachers.in_process import opened  # noqa: PLC0415 - torch

    name = distill.teachers[0]
    teacher, words = opened(name, device, distill.opening)
    if teacher.config.is_encoder_decoder:
        raise WrongUse(
            f"--teacher {name}",
            "an encoder-decoder",
            "a decoder, whose state holds the whole text",
            "Take a language model that reads with one decoder.",
        )
    return teacher, words


def _held_out(
    config: TrainConfig, reading: _Reading, learnt: Sequence[JsonObject]
) -> HeldRows | None:
    """The rows that are measured; None where none are held out."""
    if config.held_out is None:
        return None
    source = config.held_out.data
    others = encoder_rows.read(source, "classify", "--held-out")
    made = reading.rows(others, f"--held-out {source}")
    return apart(source, made, learnt, whole_text)


def _watched(
    held: HeldRows,
    trainer: Trainer,
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> JsonObject:
    """Has the trainer write each measurement down; what a record says of the rows held out."""
    from finetune.measuring.held_out import watch  # noqa: PLC0415 - torch

    watch(trainer, config, tokenizer, "never")
    return held.record()


def _check(distill: DistillConfig, terms: Sequence[Term]) -> None:
    """Refuses losses of what a teacher of texts does not show, and a head that nothing trains."""
    for term in terms:
        if term.loss.compares != "states":
            raise WrongUse(
                f"--loss {term.name}",
                "with --teacher-state",
                "a loss of hidden states",
                "Take hidden_mse, rkd or mi_alpha: this teacher has no classes, and tokens of "
                "its own.",
            )
    if not distill.learns_labels:
        raise WrongUse(
            "--teacher-state",
            "--likelihood 0",
            "a weight above 0",
            "Give --likelihood 1: the head learns from the rows' labels alone.",
        )


class _Reading:
    """Rows as student and teacher read them.

    Args:
        tokenizer: the student's.
        words: the teacher's.
        classes: names by number.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        words: PreTrainedTokenizerBase,
        classes: Mapping[int, str],
    ) -> None:
        self.tokenizer = tokenizer
        self.words = words
        self.classes = classes
        self.most = min(_MOST_TOKENS, tokenizer.model_max_length)
        self.most_words = min(_MOST_TEACHER_TOKENS, words.model_max_length)

    def rows(self, data: Dataset, where: str) -> list[JsonObject]:
        """Ids of both, and `labels`; nothing is counted, since the teacher speaks to no class."""
        # A class is known by its name: the label 2 need not be the third of them.
        named = [{**row, "label": _name(row.get("label"))} for row in data]
        made = encoder_rows.of_task(
            named,
            "classify",
            self.tokenizer,
            self.most,
            self.classes,
            where=where,
        )
        for row, told in zip(data, made, strict=True):
            told["counted"] = 0
            told[_IDS] = self._ids(row)
        return made

    def _ids(self, row: Row) -> list[int]:
        """What the teacher reads, at least one token; its end where it is too long."""
        text = row.get("teacher_text")
        if text is None:
            parts = [row["text"], row.get("text_pair")]
            text = "\n".join(part for part in parts if part)
        ids: list[int] = self.words(text)["input_ids"]
        return ids[-self.most_words :] or [student.start_of(self.words)]


def _name(label: object) -> str | None:
    return None if label is None else str(label)


class _Collator:
    """Pads both readings of a text at their ends.

    Args:
        tokenizer: the student's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import DataCollatorWithPadding  # noqa: PLC0415

        self.plain = DataCollatorWithPadding(tokenizer)

    def __call__(self, rows: Sequence[JsonObject]) -> dict[str, Tensor]:
        from finetune.teachers.in_process import batch_of  # noqa: PLC0415 - torch

        ours = [without(row, (_IDS,)) for row in rows]
        batch: dict[str, Any] = dict(self.plain(ours))
        theirs = batch_of([(row[_IDS], row[_IDS]) for row in rows], pad=0)
        batch[encoder_rows.TEACHER_IDS] = theirs["input_ids"]
        batch[encoder_rows.TEACHER_MASK] = theirs["attention_mask"]
        return batch
