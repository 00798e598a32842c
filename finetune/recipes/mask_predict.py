"""Students that fill masked tokens over a few passes (CMLM, arXiv:1904.09324), from a teacher's
texts and a lexical prior of raw ones (arXiv:2012.14583).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.recipes.ctc import PriorConfig, encoded, opened
from finetune.settings import TrainConfig, built
from finetune.students import load as student
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
    data, raw, args, model, tokenizer = opened(config, "mask-predict", prior)
    # Seconds of imports.
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
