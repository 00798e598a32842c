"""Measures of predictions that are there, and two students on the same questions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, by_question, counts, measured
from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.inputs.files import exists
from synth.inputs.names import not_there
from synth.inputs.seeds import read_rows
from synth.statistics.paired import mcnemar, mean_interval

ROOM = "finetune.measures"
FILE = "predictions.jsonl"


def read_predictions(source: str) -> list[Row]:
    """The rows of an evaluation's folder, or of a file like its predictions.jsonl; no hub is asked.

    Raises:
        WrongUse: nothing stands there, or rows without `prompt`, `target` or `reply`.
    """
    wanted = f"the folder of an evaluation, or its {FILE}"
    source = os.path.expanduser(source)  # noqa: PTH111 - a URL too
    if Path(source).is_dir():
        source = str(Path(source, FILE))
    if not exists(source):
        raise not_there(source, source, wanted)
    rows: list[Row] = list(read_rows(source))
    for number, row in enumerate(rows, 1):
        missing = sorted({"prompt", "target", "reply"} - row.keys())
        if missing:
            raise WrongUse(
                f"{source} row {number}",
                f"no {missing[0]!r}",
                "prompt, target and reply, as `finetune evaluate` writes them",
                "Name the folder of an evaluation.",
            )
    if not rows:
        raise WrongUse(source, "no rows", "predictions", "Evaluate first.")
    return rows


def measures_of(
    specs: Sequence[str], predictions: Sequence[Row]
) -> dict[str, JsonObject]:
    """NAME[:key=value,...] -> what it measures.

    Raises:
        WrongUse: no such measure, or too few draws for it.
    """
    report = {}
    for spec in specs:
        report[spec] = measured(_measure(spec), predictions)
    return report


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two students on the same questions.

    Attributes:
        measure: what is compared; `right` for exact match.
        questions: that both answered.
        first: mean of the first one.
        second: mean of the second one.
        low: of the difference, second less first, where its 95 % interval begins.
        high: where it ends.
        p: McNemar's exact two-sided p-value, for `right` with one draw each; None else.
    """

    measure: str
    questions: int
    first: float
    second: float
    low: float
    high: float
    p: float | None


def compare(
    first: Sequence[Row], second: Sequence[Row], measure: str = "right"
) -> Comparison:
    """How far two students differ: paired bootstrap over questions (Koehn, 2004), and McNemar's
    test.

    Args:
        first: predictions of one.
        second: predictions of the other, about the same questions in any order.
        measure: `right`, or a measure of `finetune.measures`.

    Raises:
        WrongUse: other questions, or no such measure.
    """
    part = None if measure == "right" else _measure(measure)
    units = by_question if part is None else part.units
    one = units(first)
    two = units(second)
    check_same(one, two)
    value = _share_right if part is None else _value_by(part)
    pairs = []
    for key, draws in one.items():
        values = value(draws), value(two[key])
        if None not in values:
            pairs.append(values)
    before = [float(pair[0] or 0) for pair in pairs]
    after = [float(pair[1] or 0) for pair in pairs]
    if not pairs:
        raise WrongUse(
            "compare", "no question that counts", "one", "Take another measure."
        )
    gains = [new - old for old, new in zip(before, after, strict=True)]
    low, high = mean_interval(gains)
    single = measure == "right" and len(first) == len(one) == len(second)
    p = mcnemar([value > 0 for value in before], [value > 0 for value in after])
    return Comparison(
        measure=measure,
        questions=len(pairs),
        first=fmean(before),
        second=fmean(after),
        low=low,
        high=high,
        p=p if single else None,
    )


def check_same(
    one: Mapping[bytes, object], two: Mapping[bytes, object]
) -> None:
    """Two students were asked the same.

    Raises:
        WrongUse: one of them alone was asked something.
    """
    alone = len(one.keys() ^ two.keys())
    if alone:
        raise WrongUse(
            "compare",
            f"{alone:,} questions that one of them alone answered",
            "the same questions",
            "Evaluate both on the same rows.",
        )


def _measure(spec: str) -> Measure:
    built: Measure = registry.build(ROOM, spec, "--measure")
    return built


def _value_by(part: Measure) -> Callable[[Sequence[Row]], float | None]:
    """What says how much the draws of a question are worth."""

    def value(draws: Sequence[Row]) -> float | None:
        counted = [row for row in draws if counts(part, row)]
        return part.of_question(counted) if counted else None

    return value


def _share_right(draws: Sequence[Row]) -> float:
    return fmean(bool(row.get("right")) for row in draws)
