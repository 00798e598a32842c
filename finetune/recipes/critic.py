"""A cross-encoder trained on labelled rows: it reads question and reply together and says how
likely the reply is right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from math import isnan
from typing import TYPE_CHECKING, TypeVar

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import masking, rows
from finetune.data.each_row import each_row
from finetune.data.label_counts import Labelled, check_both_kinds, without
from finetune.data.shapes import read_label
from finetune.scoring import calibration
from finetune.scoring.frozen_critic import LABELS
from finetune.settings import TrainConfig, model_options, trainer_config
from finetune.students import load as student
from finetune.students import scratch
from finetune.students.number_types import opening_type
from finetune.students.opening import opening
from finetune.students.padding import settle_padding
from synth.core.errors import WrongUse
from synth.core.records import Row, canonical_json
from synth.local_models.minilm import folder_of
from synth.processes.ranks import is_first_process
from synth.statistics.intervals import auc

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

_MOST_TOKENS = 512
# What stands where a word is masked: a word like others, which every tokenizer can write.
_MASK = "_"
Value = TypeVar("Value")


_DEFAULTS = {
    "per_device_eval_batch_size": 64,
    # The loss is a mean over rows: weighed by tokens, it would grow with the processes.
    "average_tokens_across_devices": False,
}


def run(
    config: TrainConfig,
    *,
    first: str = "question",
    second: str = "rationale,answer",
    label: str = "is_correct",
    group: str = "question",
    held_out: float = 0.2,
    kind: str = "isotonic",
    masked: float = 0.0,
) -> JsonObject:
    """Trains on part of the groups; half of the others calibrates and sets thresholds, the other
    half measures.

    With `masked` above 0, as many masked copies of right rows as there are fewer wrong rows than
    right ones are learnt as wrong rows (see `masked_rows`); none is held out.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss (nats a row), `held_out`: rows and area
        under the ROC curve (0 to 1), and where both halves hold both kinds of rows `recalls` (see
        `calibration.recall_table`).

    Raises:
        WrongUse: missing columns, labels that are all alike, a model or a trainer field that cannot
            be used.
    """
    if config.lora is not None:
        raise WrongUse(
            "--lora",
            "adapters",
            "a whole model",
            "Leave --lora out: a critic is loaded without adapters.",
        )
    read = table(config.data, first, second, label, group)
    train, rest = split([row["group"] for row in read], held_out)
    learnt = [read[n] for n in train]
    if masked:
        learnt += masked_rows(learnt, masked)
    if len({row["labels"] for row in learnt}) < 2:
        check_labels(read, train, "train", f"--input {config.data} {label}")
    # Seconds of imports.
    from transformers import (  # noqa: PLC0415
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    args = trainer_config(
        TrainingArguments,
        replace(config, trainer={**_DEFAULTS, **config.trainer}),
        "critic",
    )
    set_seed(args.seed)  # a new head is drawn
    model, tokenizer = _open(
        config,
        [text for row in read for text in (row["first"], row["second"])],
        args.seed,
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=_encoded(learnt, model, tokenizer),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )

    def measured(_: JsonObject) -> Row:
        if not rest:
            return {"held_out": {"rows": 0, "auc": None}}
        held = [read[n] for n in rest]
        margins = _margins(trainer, _encoded(held, model, tokenizer))
        labels = [bool(row["labels"]) for row in held]
        area = auc(margins, labels)
        groups = [row["group"] for row in held]
        recalls = _calibrated(config, margins, labels, groups, kind)
        # NaN: labels all alike.
        shown = None if isnan(area) else round(area, 4)
        told = {"rows": len(rest), "auc": shown}
        return {"held_out": told, "recalls": recalls}

    return student.train_and_keep(
        trainer, tokenizer, config, len(learnt), learnt=measured
    )


def _encoded(
    read: Sequence[JsonObject],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[JsonObject]:
    """Token ids and label of each row, cut to what the model can read."""
    limit = min(
        _MOST_TOKENS,
        tokenizer.model_max_length,
        getattr(model.config, "max_position_embeddings", _MOST_TOKENS),
    )
    encoded = []
    for row in read:
        tokens = tokenizer(
            row["first"], row["second"], truncation=True, max_length=limit
        )
        encoded.append({**tokens, "labels": row["labels"]})
    return encoded


def masked_rows(learnt: Sequence[JsonObject], share: float) -> list[JsonObject]:
    """Masked copies of right rows as wrong ones, so many that both kinds are as many; none where
    there are as many wrong rows (QCRD, arXiv:2405.13014, whose discriminator begins so).

    Args:
        learnt: rows as `table` reads them.
        share: of the second text's words, above 0 and up to 1, that are masked or replaced by words
            of other right rows.
    """
    right = [row for row in learnt if row["labels"]]
    words = sorted({word for row in right for word in row["second"].split()})
    lacking = max(0, 2 * len(right) - len(learnt))
    made = []
    for number, row in enumerate(islice(cycle(right), lacking)):
        key = canonical_json([number, row["first"], row["second"]]).decode()
        worse = masking.masked(row["second"], share, _MASK, words, key)
        # A text without words has no worse copy.
        if worse != row["second"]:
            made.append({**row, "second": worse, "labels": 0})
    return made


def split(groups: list[str], share: float) -> tuple[list[int], list[int]]:
    """Places of the rows to train on and of those of the held-out groups; the same groups give the
    same split.
    """
    names = sorted(set(groups))
    random.Random(len(names)).shuffle(names)
    held = set(names[: round(share * len(names))])
    return [n for n, group in enumerate(groups) if group not in held], [
        n for n, group in enumerate(groups) if group in held
    ]


def table(
    source: str, first: str, second: str, label: str, group: str
) -> list[JsonObject]:
    """Rows as the two texts that a critic reads, the label (0 or 1) and the group; `row` is its
    number, `said` the label as it stands there, `of` how many rows there are.

    Raises:
        WrongUse: a column is missing, a label says neither right nor wrong, or no row has one.
    """
    seconds = second.split(",")
    data = rows.columns(
        rows.load(source),
        tuple(dict.fromkeys([first, *seconds, label, group])),
        source,
    )

    def read(number: int, row: JsonObject) -> JsonObject | None:
        if row[label] is None:
            return None
        where = f"--input {source} row {number} {label}"
        parts = [str(row[name]) for name in seconds if row[name] is not None]
        return {
            "first": str(row[first]),
            "second": " ".join(parts),
            "labels": int(read_label(row[label], where)),
            "group": str(row[group]),
            "row": number,
            "said": row[label],
            "of": len(data),
        }

    made = each_row(data, read)
    listed = [row for row in made if row is not None]
    if not listed:
        raise WrongUse(
            f"--input {source} {label}",
            f"{len(data):,} rows without a label",
            "right rows and wrong ones",
            "Write true or false into that column.",
        )
    return listed


def check_labels(
    read: Sequence[JsonObject], part: Sequence[int], aim: str, where: str
) -> None:
    """Refuses a part of a table whose labels are all alike.

    Args:
        read: rows as `table` reads them.
        part: their places.
        aim: what the part is for: "train".
        where: the option, its file and the column.

    Raises:
        WrongUse: which rows were taken, and what they say.
    """
    listed = [read[n] for n in part]
    taken = [
        Labelled(row["row"], row["said"], bool(row["labels"])) for row in listed
    ]
    more = without(read[0]["of"], len(read))
    check_both_kinds(where, aim, taken, more)


def _open(
    config: TrainConfig, texts: list[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model = config.model
    if scratch.is_scratch(model):
        return scratch.build_classifier(model, texts, seed, LABELS)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    names = dict(enumerate(LABELS))
    opened = {"dtype": opening_type(), **model_options(config)}
    todo = "Give a folder, a name of the hub (an encoder does best), or scratch:tiny."
    with opening(f"--model {model}", model, "a model to classify with", todo):
        tokenizer = AutoTokenizer.from_pretrained(folder_of(model))
        classifier = AutoModelForSequenceClassification.from_pretrained(
            folder_of(model),
            id2label=names,
            label2id={name: n for n, name in names.items()},
            num_labels=2,
            **opened,
        )
    if classifier.config.is_encoder_decoder:
        raise WrongUse(
            f"--model {model}",
            "an encoder-decoder",
            "an encoder or a decoder, which reads a text with one side",
            todo,
        )
    settle_padding(tokenizer, f"--model {model}", classifier.config)
    return classifier, tokenizer


def _margins(trainer: Trainer, rest: list[JsonObject]) -> list[float]:
    """How far the logit of an accepted row stands above the other."""
    order = sorted(
        range(len(rest)), key=lambda n: len(rest[n]["input_ids"])
    )  # rows of like length need little padding
    logits = trainer.predict([rest[n] for n in order]).predictions
    margins = dict(zip(order, logits[:, 1] - logits[:, 0], strict=True))
    return [float(margins[n]) for n in range(len(rest))]


def _chosen(values: Sequence[Value], positions: Sequence[int]) -> list[Value]:
    return [values[position] for position in positions]


def _calibrated(
    config: TrainConfig,
    margins: list[float],
    labels: list[bool],
    groups: list[str],
    kind: str,
) -> list[dict[str, float]]:
    """Fits a calibration on half of the groups, leaves it beside the model, and measures thresholds
    on the other half.
    """
    halves = [
        (_chosen(margins, part), _chosen(labels, part))
        for part in split(groups, 0.5)
    ]
    if any(len(set(kinds)) < 2 for _, kinds in halves):
        return []
    curve = calibration.fit(*halves[0], kind=kind)
    if is_first_process():
        write_json(config.output / calibration.FILE, curve.record())
    tune, test = ((list(map(curve, scores)), kinds) for scores, kinds in halves)
    return calibration.recall_table(tune, test)
