"""What vectors in the place of demonstrations are worth: answers that a model gives with vectors,
with demonstrations, and with neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from finetune.core.own_files import PREDICTIONS, check_folder, write_evaluation
from finetune.core.rows import JsonObject, without
from finetune.data.demonstrations import NUMBER, demonstrated, read
from finetune.data.tokens import IGNORED
from finetune.measuring.shares import share_of
from finetune.students.demonstrations import (
    Asked,
    Compressor,
    load_compressor,
    model_of,
    said,
)
from finetune.students.load import load_student
from finetune.teachers.in_process import SAME_TOKENS, same_tokens
from finetune.trainers.demonstrations import (
    ShownCollator,
    encoded,
    most_tokens,
    shown_in,
)
from synth.core.errors import WrongUse
from synth.statistics.paired import mcnemar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH = 32
WAYS = ("vectors", "demonstrations", "none")


@dataclass(frozen=True, kw_only=True)
class DemonstrationsEvaluation:
    """What to measure.

    Attributes:
        compressor: a folder of `finetune demonstrations`.
        data: held-out rows of `prompt`, `completion`, and `task` or `demonstrations`.
        output: where evaluation.json and predictions.jsonl go.
        shelf: rows that demonstrate; None for the others of the data.
        shots: demonstrations of a row.
        seed: of their choice.
        model: that is asked; None for the one that the compressor was trained for.
    """

    compressor: str
    data: str
    output: Path
    shelf: str | None = None
    shots: int = 4
    seed: int = 0
    model: str | None = None


def run(config: DemonstrationsEvaluation) -> JsonObject:
    """Asks each row in three ways.

    Returns:
        The content of OUTPUT/evaluation.json: for each of `WAYS` the share of rows whose whole
        answer is what the model would write greedily (share, low, high: Wilson 95 %), `p` (McNemar)
        that vectors are as good as nothing, and the mean tokens of the demonstrations.

    Raises:
        WrongUse: rows or models that cannot be used.
    """
    keys = ("compressor", "vector_count")
    check_folder(config.output, (PREDICTIONS,), keys)
    model, own = load_compressor(config.compressor)
    name = config.model or model_of(config.compressor)
    reader, tokenizer = load_student(name)
    _check_reader(name, reader, model)
    same_tokens(name, tokenizer, own, "--model", SAME_TOKENS)
    shelf = read(config.shelf, "--shelf") if config.shelf else None
    source = f"--input {config.data}"
    rows = demonstrated(
        read(config.data),
        shots=config.shots,
        draws=1,
        seed=config.seed,
        source=source,
        shelf=shelf,
    )
    most = most_tokens(reader.config, model.config)
    made = encoded(rows, tokenizer, most, len(model.places), source=source)
    collate = ShownCollator(own)
    right: dict[str, list[bool]] = {way: [] for way in WAYS}
    for part in (model, reader):
        part.eval()
    for start in range(0, len(made), _BATCH):
        shown = shown_in(collate(made[start : start + _BATCH]))
        with torch.no_grad():
            vectors = model(shown.ids, shown.mask)
        right["vectors"] += answered(reader, shown.alone, vectors)
        right["demonstrations"] += answered(reader, shown.whole, None)
        right["none"] += answered(reader, shown.alone, None)
    tokens = [len(row["shots"]) for row in made]
    info: JsonObject = {
        "model": name,
        "compressor": config.compressor,
        "rows": len(made),
        "vector_count": len(model.places),
        "demonstration_tokens": round(sum(tokens) / len(tokens), 2),
        **{
            way: share_of(sum(found), len(found))
            for way, found in right.items()
        },
        "p": round(mcnemar(right["vectors"], right["none"]), 6),
    }
    asked = [rows[told["place"]] for told in made]
    write_evaluation(config.output, info, _judged(asked, right))
    return info


def _check_reader(
    name: str, reader: PreTrainedModel, compressor: Compressor
) -> None:
    """Refuses a model that cannot read the vectors."""
    found = ""
    width = compressor.project.out_features
    own = reader.config.get_text_config().hidden_size
    if reader.config.is_encoder_decoder:
        found = "an encoder-decoder"
    elif own != width:
        found = f"a model of width {own}"
    if found:
        raise WrongUse(
            f"--model {name}",
            found,
            f"a decoder of width {width}, as the vectors are",
            "Leave it out for the model that they were learnt for.",
        )


def _judged(
    rows: Sequence[JsonObject], right: dict[str, list[bool]]
) -> Iterator[JsonObject]:
    """The rows, each with what was right."""
    for number, row in enumerate(rows):
        found = {way: right[way][number] for way in WAYS}
        yield {**without(row, (NUMBER,)), "right": found}


def answered(
    reader: PreTrainedModel, asked: Asked, before: torch.Tensor | None
) -> list[bool]:
    """Whether each answer, with its end, is what greedy decoding writes: each of its tokens is the
    likeliest behind those before it.
    """
    with torch.no_grad():
        best = said(reader, asked, before).argmax(dim=-1)
    there = asked.labels[:, 1:] != IGNORED
    hits = torch.ones_like(there)
    hits[there] = best == asked.labels[:, 1:][there]
    found: list[bool] = hits.all(dim=1).tolist()
    return found
