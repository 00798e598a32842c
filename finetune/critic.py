"""A cross-encoder trained on labelled rows: it reads question and reply together and says how likely the reply is right."""

from __future__ import annotations

import json
import random
from typing import Any

from finetune import rows, scratch, student
from finetune.intervals import auc
from finetune.settings import TrainConfig, trainer_config
from synth.errors import WrongUse

LABELS = ("rejected", "accepted")
_MOST_TOKENS = 512


def run(
    config: TrainConfig,
    *,
    first: str = "question",
    second: str = "rationale,answer",
    label: str = "is_correct",
    group: str = "question",
    held_out: float = 0.2,
) -> dict[str, Any]:
    """Trains on part of the groups and measures on the others.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss (nats a row), and `held_out`: rows and area under the ROC curve (0 to 1).

    Raises:
        WrongUse: missing columns, labels that are all alike, a model or a trainer field that cannot be used.
    """
    read = table(config.data, first, second, label, group)
    train, rest = split([row["group"] for row in read], held_out)
    if len({read[n]["labels"] for n in train}) < 2:
        raise WrongUse(f"--data {config.data}", f"labels in {label!r} that are all alike", "right rows and wrong ones", "Label more rows.")
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments  # noqa: PLC0415 - seconds of imports

    args = trainer_config(TrainingArguments, config)
    model, tokenizer = _open(config.model, [text for row in read for text in (row["first"], row["second"])], args.seed)
    limit = min(_MOST_TOKENS, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", _MOST_TOKENS))
    encoded = [{**tokenizer(row["first"], row["second"], truncation=True, max_length=limit), "labels": row["labels"]} for row in read]
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=[encoded[n] for n in train],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    info = student.train_and_keep(trainer, tokenizer, config, len(train))
    info["held_out"] = {"rows": len(rest), "auc": _measure(trainer, [encoded[n] for n in rest])}
    (config.output / "train.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return info


def split(groups: list[str], share: float) -> tuple[list[int], list[int]]:
    """Places of the rows to train on and of those of the held-out groups; the same groups give the same split."""
    names = sorted(set(groups))
    random.Random(len(names)).shuffle(names)
    held = set(names[: round(share * len(names))])
    return [n for n, group in enumerate(groups) if group not in held], [n for n, group in enumerate(groups) if group in held]


def table(source: str, first: str, second: str, label: str, group: str) -> list[dict[str, Any]]:
    """Rows as the two texts that a critic reads, the label (0 or 1) and the group.

    Raises:
        WrongUse: a column is missing.
    """
    seconds = second.split(",")
    data = rows.columns(rows.load(source), tuple(dict.fromkeys([first, *seconds, label, group])), source)
    return [
        {
            "first": str(row[first]), "second": " ".join(str(row[name]) for name in seconds if row[name] is not None),
            "labels": int(bool(row[label])), "group": str(row[group]),
        }
        for row in data
        if row[label] is not None
    ]  # fmt: skip


def _open(model: str, texts: list[str], seed: int) -> tuple[Any, Any]:
    if scratch.is_scratch(model):
        return scratch.build_classifier(model, texts, seed, LABELS)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    names = dict(enumerate(LABELS))
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        found = AutoModelForSequenceClassification.from_pretrained(
            model, id2label=names, label2id={name: n for n, name in names.items()}, num_labels=2
        )
    except (OSError, ValueError) as error:
        todo = "Give a folder, a name of the hub (an encoder does best), or scratch:tiny."
        raise WrongUse(f"--model {model}", f"no model ({str(error).splitlines()[0]})", "a model to classify with", todo) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    found.config.pad_token_id = tokenizer.pad_token_id
    return found, tokenizer


def _measure(trainer: Any, rest: list[dict[str, Any]]) -> float | None:
    if not rest:
        return None
    logits = trainer.predict(rest).predictions
    found = auc((logits[:, 1] - logits[:, 0]).tolist(), [bool(row["labels"]) for row in rest])
    return round(found, 4) if found == found else None  # noqa: PLR0124 - NaN differs from itself: labels all alike
