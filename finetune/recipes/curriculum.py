"""Training in stages, each from the weights of the one before: by difficulty, by teacher, by what a
context still says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from math import isnan

from finetune.core.rows import JsonObject
from finetune.data import rows, shapes
from finetune.recipes import sft
from finetune.settings import TrainConfig, refuse_of_stages
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.inputs.seeds import whole_file


def run(
    config: TrainConfig,
    *,
    by: str,
    bins: int = 3,
    order: Sequence[str] = (),
    descending: bool = False,
    cumulative: bool = False,
) -> JsonObject:
    """Trains stage after stage on `prompt`, `completion` and a column that says which stage a row
    belongs to.

    Args:
        config: data, model, output, fields of the TRL config; steps or epochs are those of one
            stage.
        by: a column of numbers (such as a difficulty) or of names (such as a teacher);
            `meta.teacher` looks inside a run's meta.
        bins: stages of about equally many rows, where the column holds numbers.
        order: names, first stage first, where it holds names; rows of other names are left out.
        descending: the largest numbers first.
        cumulative: each stage keeps the rows of those before it.

    Returns:
        The content of OUTPUT/train.json of the last stage, with `stages` (rows of each) and
        `losses`.

    Raises:
        WrongUse: no such column, fewer than two stages, data or a model that cannot be used.
    """
    data = [
        dict(row)
        for row in rows.with_columns(
            config.data, ("prompt", "completion", by.split(".", maxsplit=1)[0])
        )
    ]
    # A row that cannot be read is found before the first stage.
    rows.tell_nothing_said(shapes.sft(data, config.data), config.data)
    stages = (
        named(data, by, order)
        if order
        else binned(data, by, bins, descending=descending)
    )
    if cumulative:
        stages = [
            list(chain.from_iterable(stages[:end]))
            for end in range(1, len(stages) + 1)
        ]
    pairs = [list(map(_pair, stage)) for stage in stages]
    sizes = [len(stage) for stage in stages]
    return in_stages(config, pairs, {"stages": sizes})


def _pair(row: Row) -> JsonObject:
    return {"prompt": row["prompt"], "completion": row["completion"]}


def _value(row: JsonObject, by: str) -> object:
    value: object = row
    for name in by.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _no_stages(by: str, fault: str) -> WrongUse:
    return WrongUse(
        f"--by {by}",
        fault,
        "numbers, and two stages or more",
        "Name the stages with --order where they are names.",
    )


def binned(
    data: Sequence[JsonObject],
    by: str,
    bins: int,
    *,
    descending: bool = False,
) -> list[list[JsonObject]]:
    """Rows in stages of about equal size by a number, the smallest first; equal numbers keep their
    order.

    >>> [
    ...     [row["d"] for row in part]
    ...     for part in binned([{"d": 3}, {"d": 1}, {"d": 2}, {"d": 2}], "d", 2)
    ... ]
    [[1, 2], [2, 3]]
    """
    values = [_value(row, by) for row in data]
    numbers: list[float] = []
    for number, value in enumerate(values, 1):
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or isnan(value)
        ):
            raise _no_stages(by, f"{value!r} in row {number}")
        numbers.append(value)
    if not 2 <= bins <= len(data):
        raise _no_stages(by, f"{bins} stages of {len(data)} rows")
    ranked = sorted(
        range(len(data)),
        key=lambda n: -numbers[n] if descending else numbers[n],
    )
    sorted_rows = [data[n] for n in ranked]
    edges = [round(len(data) * n / bins) for n in range(bins + 1)]
    return [sorted_rows[low:high] for low, high in pairwise(edges)]


def named(
    data: Sequence[JsonObject], by: str, order: Sequence[str]
) -> list[list[JsonObject]]:
    """Rows in stages by a name.

    >>> [len(part) for part in named([{"t": "a"}, {"t": "b"}, {"t": "a"}], "t", ["b", "a"])]
    [1, 2]
    """
    by_name: dict[str, list[JsonObject]] = {name: [] for name in order}
    for row in data:
        name = str(_value(row, by))
        if name in by_name:
            by_name[name].append(row)
    stages = [by_name[name] for name in order]
    empty = next(
        (name for name, stage in zip(order, stages, strict=True) if not stage),
        None,
    )
    if empty is not None or len(stages) < 2:
        values = ", ".join(sorted({str(_value(row, by)) for row in data})[:9])
        raise WrongUse(
            "--order",
            f"no row of {empty!r}" if empty else f"{list(order)}",
            "two names or more",
            f"The rows have: {values}.",
        )
    return stages


def in_stages(
    config: TrainConfig,
    stages: Sequence[Iterable[JsonObject]],
    facts: JsonObject,
) -> JsonObject:
    """Trains on one set of rows after the other; the student of the last one is OUTPUT, the others
    stand in OUTPUT/stageN.

    Adapters are made in the first stage and trained on in the others.
    """
    refuse_of_stages(config.trainer)
    config.output.mkdir(parents=True, exist_ok=True)
    losses: list[float | None] = []
    model = config.model
    for number, stage in enumerate(stages):
        path = config.output / f"stage{number}.jsonl"
        # Of several processes none reads a file that another has begun.
        with whole_file(path) as aside:
            aside.write_text(
                "".join(json.dumps(row) + "\n" for row in stage),
                encoding="utf-8",
            )
        is_last = number == len(stages) - 1
        folder = config.output
        if not is_last:
            folder = config.output / f"stage{number}"
        # What the command was given stays where it is, whoever moves OUTPUT.
        told: JsonObject = {
            "model": config.model,
            "data": config.data,
            "taint": rows.taint(config.data),
            "stage": number,
        }
        if is_last:
            told |= facts
        part = replace(
            config,
            data=str(path),
            model=model,
            output=folder,
            lora=config.lora if number == 0 else None,
        )
        done = sft.fit(
            part,
            rows.sft_rows(path, counted=True),
            learnt=partial(_told, told, losses),
        )
        model = str(folder)
    return done


def _told(
    facts: JsonObject, losses: list[float | None], info: JsonObject
) -> Row:
    """What a stage's record says besides, with the losses of all stages so far."""
    losses.append(info["loss"])
    return {**facts, "losses": [*losses]}
