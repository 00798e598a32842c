"""Rows for a trainer of TRL: read here, by the one way that all commands share, so that the trainer
has ids and labels to take.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject, RowFacts
from finetune.data import rows
from finetune.data.held_out import HeldRows, apart
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.data.tokens import Prepared, prepared
from finetune.settings import TrainConfig
from synth.cli.command_group import say
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments


def for_sft(
    config: TrainConfig,
    args: TrainingArguments,
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
) -> Prepared:
    """The rows as the fields of an SFTConfig say; fields that are thereby obeyed are taken out of
    it.

    Rows that have no room for an answer are left out, which is said, as is how many answers are cut
    off.

    Args:
        config: of the training.
        args: its SFTConfig; changed.
        data: rows of `rows.sft_rows`.
        tokenizer: the student's; its end token or chat template may be changed, as the fields say.

    Raises:
        WrongUse: fields that these rows or this tokenizer do not fit.
    """
    set_tokens(args, tokenizer)
    whole = _learns_all(config.trainer, data.column_names)
    args.completion_only_loss = None
    args.assistant_only_loss = False
    # Packing that splits long rows over several sequences gets them as they are.
    splits = args.packing and args.packing_strategy != "bfd"
    encoded = prepared(
        data,
        tokenizer,
        None if splits else args.max_length,
        template=config.template,
        whole=whole,
        keep_end=args.truncation_mode == "keep_end",
        where=f"--input {config.data}",
    )
    say_lost(encoded, args.max_length)
    return encoded


def held_out(
    config: TrainConfig,
    args: TrainingArguments,
    tokenizer: PreTrainedTokenizerBase,
    learnt: Prepared,
) -> HeldRows | None:
    """The rows that a training is measured on, read as those that it learns; None where none are
    held out.

    Args:
        config: of the training.
        args: its SFTConfig.
        tokenizer: the student's.
        learnt: its rows.

    Raises:
        WrongUse: rows that cannot be read, or that are all learnt.
    """
    if config.held_out is None:
        return None
    source = config.held_out.data
    made = for_sft(config, args, rows.sft_rows(source), tokenizer)
    held = apart(source, made.rows, learnt.rows)
    return held._replace(positions=made.positions)


def asked(
    prompt: TeacherPrompt | None,
    read: tuple[Dataset, Dataset],
    prepared: tuple[Prepared, Prepared],
    measured: HeldRows | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    where: str,
) -> tuple[Prepared, list[JsonObject]]:
    """The rows that a teacher is asked about, as the student sees them and as the teacher does:
    those that are learnt, and behind them those that are measured.

    Args:
        prompt: of the teacher alone, if any.
        read: the table of all rows, and the same as they are trained on.
        prepared: all of them, and those that are learnt.
        measured: rows held out, if any.
        tokenizer: the student's.
        where: what named the rows that are learnt, for messages.
    """
    table, data = read
    made, learnt = prepared
    both = learnt
    if measured is not None:
        places = [len(table) + position for position in measured.positions]
        both = learnt._replace(
            rows=[*learnt.rows, *measured.rows],
            positions=[*learnt.positions, *places],
        )
    if prompt is None:
        return both, both.rows
    seen = prompt.seen(table, data, learnt, tokenizer, where=where)
    if measured is not None:
        seen += _seen_of(measured, prompt, made, tokenizer)
    return both, seen


def _seen_of(
    measured: HeldRows,
    prompt: TeacherPrompt,
    made: Prepared,
    tokenizer: PreTrainedTokenizerBase,
) -> list[JsonObject]:
    """Rows that are measured as the teacher sees them."""
    source = measured.data
    table = rows.load(source)
    prompt.check(table.column_names)
    theirs = made._replace(rows=measured.rows, positions=[*measured.positions])
    shaped = rows.sft_rows(source)
    where = f"--held-out {source}"
    return prompt.seen(table, shaped, theirs, tokenizer, where=where)


def paired(theirs: Prepared, ours: Prepared) -> Prepared:
    """Rows with two texts to one prompt: the teacher's as `input_ids` and `labels`, the student's
    as `student_ids` and `student_labels`; those of which both have room.

    Args:
        theirs: rows with the teacher's texts.
        ours: the same rows with the student's.

    Raises:
        WrongUse: no row is left.
    """
    of_student = dict(zip(ours.positions, ours.rows, strict=True))
    kept = []
    positions = []
    for position, row in zip(theirs.positions, theirs.rows, strict=True):
        if (other := of_student.get(position)) is None:
            continue
        both = {
            "student_ids": other["input_ids"],
            "student_labels": other["labels"],
        }
        kept.append({**row, **both})
        positions.append(position)
    if not kept:
        raise WrongUse(
            "--data",
            "no row with room for both texts",
            "one at least",
            "Shorten the prompts, or raise --max-length.",
        )
    crowded = theirs.crowded + len(theirs.rows) - len(kept)
    return theirs._replace(
        rows=kept,
        positions=positions,
        crowded=crowded,
        cut=theirs.cut + ours.cut,
    )


def cut_already(args: TrainingArguments) -> None:
    """Tells a trainer that its rows are cut to `max_length`, which TRL asks for where rows come
    without padding.
    """
    if args.padding_free and not args.packing:
        args.max_length = None


def set_tokens(
    args: TrainingArguments, tokenizer: PreTrainedTokenizerBase
) -> None:
    """End token and chat template that the fields name; a template is a file."""
    if args.eos_token is not None:
        if args.eos_token not in tokenizer.get_vocab():
            raise WrongUse(
                "--eos-token",
                repr(args.eos_token),
                "a token of the student",
                "Name one that it has.",
            )
        tokenizer.eos_token = args.eos_token
    if args.chat_template_path is not None:
        path = Path(args.chat_template_path)
        if not path.is_file():
            todo = "Save the template of the other model into a file, chat_template.jinja."
            raise WrongUse("--chat-template-path", str(path), "a file", todo)
        tokenizer.chat_template = path.read_text(encoding="utf-8")
        args.chat_template_path = None


def _learns_all(fields: Row, columns: list[str]) -> bool:
    """Whether prompts are learnt too."""
    completions = fields.get("completion_only_loss")
    turns = fields.get("assistant_only_loss")
    if "text" in columns and (completions or turns):
        name = (
            "--completion-only-loss" if completions else "--assistant-only-loss"
        )
        raise WrongUse(
            name,
            "rows of `text`",
            "rows of `prompt` and `completion`, or of `messages`",
            "Leave it out.",
        )
    if turns and completions is False:
        both = "--assistant-only-loss true, --completion-only-loss false"
        raise WrongUse("loss", both, "one of them", "Leave one out.")
    return completions is False or (turns is False and "messages" in columns)


def say_lost(encoded: Prepared, most: int | None) -> None:
    """Says which rows lose what, if any do."""
    if encoded.crowded:
        count = encoded.crowded + len(encoded.rows)
        text = (
            f"{encoded.crowded:,} of {count:,} rows: the prompt leaves no room for an answer "
            f"within {most} tokens"
        )
        say(f"{text}; they are left out (--max-length)", err=True)
    if encoded.cut:
        count = len(encoded.rows)
        text = f"{encoded.cut:,} of {count:,} rows: the answer is cut off at {most} tokens"
        say(f"{text} (--max-length)", err=True)


def dataset(encoded: Prepared | HeldRows) -> Dataset:
    """Ids and labels as a trainer takes them."""
    import datasets  # noqa: PLC0415 - a second of imports

    return datasets.Dataset.from_list(encoded.rows)


def chosen(given: RowFacts, encoded: Prepared | HeldRows) -> RowFacts:
    """What is said of all rows, for those that are left."""
    left = {}
    for name, values in given.items():
        left[name] = [values[position] for position in encoded.positions]
    return left
