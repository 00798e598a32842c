"""Students that write all tokens at once, from a teacher's texts and a lexical prior of raw ones
(arXiv:2012.14583).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data.text_pairs import COLUMNS, pairs
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import open_head
from finetune.trainers.distill_checks import check_whole
from synth.cli.command_group import say
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainingArguments,
    )

    from finetune.trainers.ctc import Stretch


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """What words stand for, at first.

    Attributes:
        prior_rows: raw pairs whose words are aligned; None for no prior.
        prior: weight of the prior at first, 0 to 1.
        until: share of the steps at which it has fallen to 0.
    """

    prior_rows: str | None = None
    prior: float = 0.5
    until: float = 0.5

    def check(self) -> None:
        """Refuses settings that nothing reads.

        Raises:
            WrongUse: a weight without rows, or rows without a weight.
        """
        for option, is_given in {
            "--prior": self.prior != PriorConfig.prior,
            "--prior-until": self.until != PriorConfig.until,
        }.items():
            refuse_unread(
                option,
                is_given=is_given,
                is_read=self.prior_rows is not None,
                found="no --prior-rows",
                reader="rows whose words are aligned",
            )
        refuse_unread(
            f"--prior-rows {self.prior_rows}",
            is_given=self.prior_rows is not None,
            is_read=self.prior > 0,
            found="--prior 0",
            reader="a prior with a weight",
        )


class Opened(NamedTuple):
    """What a training of a student with a prior begins with.

    Attributes:
        data: the teacher's rows.
        raw: those whose words are aligned; [] without a prior.
        args: of the trainer.
        model: an encoder with the head of a masked language model.
        tokenizer: the model's.
    """

    data: list[JsonObject]
    raw: list[JsonObject]
    args: TrainingArguments
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def opened(config: TrainConfig, command: str, prior: PriorConfig) -> Opened:
    """Reads the rows, and opens the model with its seed set.

    Raises:
        WrongUse: data, model, prior or a trainer field that cannot be used.
    """
    check_whole(config, command, "encoder")
    prior.check()
    data = pairs(config.data, "--input")
    raw = pairs(prior.prior_rows, "--prior-rows") if prior.prior_rows else []
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    set_seed(args.seed)
    model, tokenizer = open_head(
        config.model, "mlm", anew=True, options=model_options(config)
    )
    return Opened(data, raw, args, model, tokenizer)


@dataclass(frozen=True, kw_only=True)
class CtcConfig(PriorConfig):
    """What `finetune ctc` is told besides a training's own settings.

    Attributes:
        stretch: places of each token of the prompt.
    """

    stretch: int = 2


def run(config: TrainConfig, *, ctc: CtcConfig) -> JsonObject:
    """Trains an encoder with the head of a masked language model to write completions.

    Args:
        config: data (`prompt` and `completion`, a teacher's), model, output, fields of
            transformers' TrainingArguments.
        ctc: how the student reads, and its prior.

    Returns:
        The content of OUTPUT/train.json: `stretch`, and `crowded`, rows that are left out since
        their completion needs more places than they have.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    data, raw, args, model, tokenizer = opened(config, "ctc", ctc)
    # Seconds of imports.
    from finetune.objectives.lexical_prior import (  # noqa: PLC0415
        prior_of,
        translations,
    )
    from finetune.trainers.ctc import (  # noqa: PLC0415
        CtcCollator,
        CtcTrainer,
        source_tokens,
        stretch_of,
    )

    stretch = stretch_of(tokenizer, ctc.stretch)
    most = source_tokens(model, ctc.stretch)
    rows = encoded(data, tokenizer)
    made = fitting(rows, stretch, most)
    if not made:
        raise _no_room(config.data, rows, ctc.stretch, most)
    if crowded := len(data) - len(made):
        say(
            f"{crowded:,} of {len(data):,} rows have too few places, or padding in their "
            "completion, and are left out",
            err=True,
        )
    prior = None
    if raw:
        aligned = _aligned(encoded(raw, tokenizer), stretch.blank)
        size = model.config.vocab_size
        prior = prior_of(translations(aligned), size)
    trainer = built(
        CtcTrainer,
        model=model,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=CtcCollator(stretch),
        stretch=stretch,
        prior=prior,
        weight=ctc.prior,
        until=ctc.until,
    )
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(made),
        facts={**vars(ctc), "crowded": crowded},
    )


def _aligned(
    made: Sequence[JsonObject], blank: int
) -> list[tuple[list[int], list[int]]]:
    """(source, target) of raw rows; the token that says nothing stands for no word."""
    found = []
    for row in made:
        words = [token for token in row["target"] if token != blank]
        found.append((row["source"], words))
    return found


def _no_room(
    source: str, rows: Sequence[JsonObject], times: int, most: int
) -> WrongUse:
    """Why no row can be learnt: prompts that are too long, or completions."""
    shortest = min(len(row["source"]) for row in rows)
    if shortest > most:
        return WrongUse(
            f"--input {source}, --stretch {times}",
            f"prompts of {shortest} tokens or more",
            f"{most} at most, since each takes {times} places of the student",
            "Lower --stretch, or shorten the prompts.",
        )
    return WrongUse(
        f"--input {source}",
        f"no completion that fits into {times} places a token",
        "some that do",
        "Raise --stretch.",
    )


def encoded(
    data: Sequence[JsonObject], tokenizer: PreTrainedTokenizerBase
) -> list[JsonObject]:
    """`source` and `target`: ids of prompts and completions."""
    made = []
    for row in data:
        ids = [
            tokenizer(row[name], add_special_tokens=False)["input_ids"]
            for name in COLUMNS
        ]
        made.append({"source": ids[0], "target": ids[1]})
    return made


def fitting(
    made: Sequence[JsonObject], stretch: Stretch, most: int
) -> list[JsonObject]:
    """Rows whose target has places and no blank, which nothing can say, and whose source the model
    can read.

    Args:
        made: rows of `encoded`.
        stretch: how the student reads.
        most: source tokens of a row.
    """
    from finetune.trainers.ctc import places_needed  # noqa: PLC0415 - torch

    return [
        row
        for row in made
        if len(row["source"]) <= most
        and stretch.blank not in row["target"]
        and places_needed(row["target"]) <= stretch.times * len(row["source"])
    ]
