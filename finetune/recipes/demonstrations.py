"""Demonstrations become vectors (MEND, arXiv:2403.06914)."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.core.rows import JsonObject
from finetune.data.demonstrations import demonstrated, read
from finetune.data.tokens import MOST_TOKENS
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.trainers.distill_checks import check_whole
from synth.core.errors import WrongUse


@dataclass(frozen=True, kw_only=True)
class DemonstrationsConfig:
    """What `finetune demonstrations` is told besides a training's own settings.

    Attributes:
        compressor: a language model with the tokenizer of the first, or a folder of this command;
            None for the model itself.
        vectors: that stand for the demonstrations.
        shots: demonstrations of a row that brings none.
        draws: times that such a row comes, each time with others.
        likelihood: weight of the answers' cross-entropy.
    """

    compressor: str | None = None
    vectors: int = 16
    shots: int = 4
    draws: int = 4
    likelihood: float = 0.0


def run(
    config: TrainConfig, *, demonstrations: DemonstrationsConfig
) -> JsonObject:
    """Trains a compressor for a language model, which stays as it is.

    Args:
        config: data (`prompt`, `completion`, and `task` or `demonstrations`), a decoder, output,
            fields of transformers' TrainingArguments.
        demonstrations: what else is said.

    Returns:
        The content of OUTPUT/train.json; OUTPUT is the compressor.

    Raises:
        WrongUse: data, models or a trainer field that cannot be used; nothing was trained.
    """
    check_whole(config, "demonstrations", "compressor", decoder=True)
    if demonstrations.vectors > MOST_TOKENS:
        raise WrongUse(
            f"--vectors {demonstrations.vectors}",
            "more than a text has tokens",
            f"{MOST_TOKENS} at most",
            "Lower it.",
        )
    asked = read(config.data)
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.students.demonstrations import open_compressor  # noqa: PLC0415
    from finetune.teachers.in_process import SAME_TOKENS, same_tokens  # noqa: PLC0415
    from finetune.trainers.demonstrations import (  # noqa: PLC0415
        DemonstrationsTrainer,
        ShownCollator,
        encoded,
        most_tokens,
    )

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    set_seed(args.seed)
    reader, tokenizer = student.load_student(
        config.model, model_options(config)
    )
    name = demonstrations.compressor or config.model
    model, own = open_compressor(
        name,
        demonstrations.vectors,
        reader.config.get_text_config().hidden_size,
        f"--compressor {name}",
    )
    same_tokens(name, own, tokenizer, "--compressor", SAME_TOKENS)
    source = f"--input {config.data}"
    rows = demonstrated(
        asked,
        shots=demonstrations.shots,
        draws=demonstrations.draws,
        seed=args.seed,
        source=source,
    )
    room = most_tokens(reader.config, model.config)
    made = encoded(rows, tokenizer, room, demonstrations.vectors, source=source)
    trainer = built(
        DemonstrationsTrainer,
        model=model,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=ShownCollator(tokenizer),
        reader=reader.to(args.device).eval().requires_grad_(False),
        likelihood=demonstrations.likelihood,
    )
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(made),
        keep=lambda: model.save(config.output, config.model),
        facts={**vars(demonstrations), "template": "never"},
    )
