"""Rows of better and worse texts in the one form, text or messages, in which the student is asked,
for trainers that read rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.prompts import (
    Prompt,
    Template,
    ids_of,
    in_training,
    messages_of,
    text_of,
)
from finetune.data.shapes import cleaned, tools_of
from finetune.data.tokens import said_of
from synth.cli.command_group import say
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

_ANSWERS = ("completion", "chosen", "rejected")


class Shaped(NamedTuple):
    """Rows for a trainer, and what did not go into them.

    Attributes:
        data: a `datasets.Dataset`.
        crowded: rows left out, as their prompt leaves no room for an answer.
        template: `always` or `never`.
    """

    data: Dataset
    crowded: int
    template: Template

    def record(self) -> JsonObject:
        """What a training writes down of it."""
        return {"template": self.template, "crowded": self.crowded}


def shaped(
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    args: TrainingArguments,
) -> Shaped:
    """The rows as texts or as messages, without those whose prompt fills all of `max_length`; how
    many these are is said.

    Args:
        data: rows of `rows.preference_rows` or `rows.labelled_rows`.
        tokenizer: the student's.
        template: whether rows go through the chat template.
        args: of the trainer, with `max_length`.

    Raises:
        WrongUse: no row has room for an answer.
    """
    import datasets  # noqa: PLC0415 - a second of imports

    listed = [dict(row) for row in data]
    form = in_training(
        template, tokenizer, chat=not isinstance(listed[0]["prompt"], str)
    )
    made = [
        _as_messages(row) if form == "always" else _as_text(row)
        for row in listed
    ]
    most = args.max_length
    kept = made
    if most is not None:
        kept = [row for row in made if len(_read(row, tokenizer, form)) < most]
    crowded = len(made) - len(kept)
    lost = (
        f"{crowded:,} of {len(made):,} rows: the prompt leaves no room for an answer within "
        f"{most} tokens"
    )
    if not kept:
        raise WrongUse(
            "--data",
            lost,
            "room for an answer",
            "Shorten the prompts, or raise --max-length.",
        )
    if crowded:
        say(f"{lost}; they are left out (--max-length)", err=True)
    return Shaped(datasets.Dataset.from_list(kept), crowded, form)


def _read(
    row: Row, tokenizer: PreTrainedTokenizerBase, form: Template
) -> list[int]:
    return ids_of(row["prompt"], tokenizer, form, tools_of(row))


def _as_messages(row: Row) -> JsonObject:
    sides = {
        name: said_of(cleaned(row[name])) for name in _ANSWERS if name in row
    }
    return {**row, "prompt": messages_of(cleaned(row["prompt"])), **sides}


def _as_text(row: Row) -> JsonObject:
    sides = {name: _answer(row[name]) for name in _ANSWERS if name in row}
    return {
        **{name: value for name, value in row.items() if name != "tools"},
        "prompt": text_of(row["prompt"]),
        **sides,
    }


def _answer(value: Prompt) -> str:
    if isinstance(value, str):
        return value
    if len(value) != 1:
        todo = (
            "Put a chat_template.jinja into the student's folder: texts do not show where a "
            "turn ends."
        )
        raise WrongUse(
            "messages",
            f"{len(value)} turns, and a student without a chat template",
            "one",
            todo,
        )
    return str(value[0]["content"])
