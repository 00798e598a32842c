"""Students that fill masked tokens over a few passes (CMLM, arXiv:1904.09324), from a teacher's
texts and a lexical prior of raw ones (arXiv:2012.14583).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data.text_pairs import pairs
from finetune.recipes.ctc import PriorConfig, encoded
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import open_head
from finetune.trainers.distill_checks import check_whole
from synth.cli.command_group import say
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.students.mask_predict import Reading


def run(config: TrainConfig, *, prior: PriorConfig) -> JsonObject:
    """Trains an encoder with the head of a masked language model to fill masked completions, and to
    say how long they are.

    Args:
        config: data (`prompt` and `completion`, a teacher's), model, output, fields of
            transformers' TrainingArguments.
        prior: what words stand for, at first.

    Returns:
        The content of OUTPUT/train.json, with `crowded`: rows that are left out since prompt and
        completion are longer together than what the encoder reads.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    check_whole(config, "mask-predict", "encoder")
    prior.check()
    data = pairs(config.data, "--input")
    raw = pairs(prior.prior_rows, "--prior-rows") if prior.prior_rows else []
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.objectives.lexical_prior import (  # noqa: PLC0415
        alignment,
        prior_of,
        translations,
    )
    from finetune.students.mask_predict import (  # noqa: PLC0415
        add_lengths,
        keep,
        reading_of,
    )
    from finetune.trainers.ctc import source_tokens  # noqa: PLC0415
    from finetune.trainers.mask_predict import (  # noqa: PLC0415
        MaskingCollator,
        MaskPredictTrainer,
    )

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    set_seed(args.seed)
    model, tokenizer = open_head(
        config.model, "mlm", anew=True, options=model_options(config)
    )
    reading = reading_of(tokenizer, source_tokens(model, 1))
    made = _fitting(encoded(data, tokenizer), reading, config.data)
    if crowded := len(data) - len(made):
        say(
            f"{crowded:,} of {len(data):,} rows are too long, prompt and completion together, or "
            "without a token, and are left out",
            err=True,
        )
    found = translations(
        [(row["source"], row["target"]) for row in encoded(raw, tokenizer)]
    )
    rows = [
        {**row, "aligned": alignment(row["source"], row["target"], found)}
        for row in made
    ]
    add_lengths(model, reading.room)
    trainer = built(
        MaskPredictTrainer,
        model=model,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=MaskingCollator(reading),
        prior=prior_of(found, model.config.vocab_size) if raw else None,
        weight=prior.prior,
        until=prior.until,
    )
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(rows),
        keep=lambda: keep(model, config.output),
        facts={**vars(prior), "crowded": crowded},
    )


def _fitting(
    made: Sequence[JsonObject], reading: Reading, source: str
) -> list[JsonObject]:
    """Rows whose two texts the student can read together, and whose completion has a token.

    Raises:
        WrongUse: none of them.
    """
    kept = [
        row
        for row in made
        if row["target"]
        and len(row["source"]) + len(row["target"]) <= reading.room
    ]
    if not kept:
        raise WrongUse(
            f"--input {source}",
            f"no row of {reading.room} tokens or fewer, prompt and completion together",
            "some, since the encoder reads no more",
            "Shorten the prompts, or take an encoder that reads more.",
        )
    return kept
