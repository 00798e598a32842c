"""The contract of a measure: predictions in, a number a question out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.core.rows import JsonObject
from synth.core.records import Row, canonical_json
from synth.statistics.paired import mean_interval


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """Base of all measures of `finetune evaluate --measure` and `finetune measure`.

    Predictions are the rows of predictions.jsonl: `prompt`, `target`, `reply`, and what its parser
    read, `answer` and `right`. Several draws of a question stand one behind the other.
    """

    @abstractmethod
    def of_question(self, draws: Sequence[Row]) -> float | None:
        """What the draws of one question are worth, from 0 to 1; None where it says nothing of
        them.
        """

    def more(self, predictions: Sequence[Row]) -> JsonObject:  # noqa: ARG002
        """What it says of all of them besides."""
        return {}


def measured(measure: Measure, predictions: Sequence[Row]) -> JsonObject:
    """The mean over questions with its 95 % bootstrap interval, and what the measure says besides.

    Returns:
        value, low, high, questions, and the measure's own; value is None where no question counts.
    """
    values = [
        value
        for draws in questions(predictions)
        if (value := measure.of_question(draws)) is not None
    ]
    low, high = mean_interval(values)
    return {
        "value": round(fmean(values), 4) if values else None,
        "low": round(low, 4),
        "high": round(high, 4),
        "questions": len(values),
        **measure.more(predictions),
    }


def questions(predictions: Sequence[Row]) -> list[list[Row]]:
    """The draws of each question, in the order of their first ones."""
    together: dict[bytes, list[Row]] = {}
    for row in predictions:
        key = canonical_json([row.get("prompt"), row.get("target")])
        together.setdefault(key, []).append(row)
    return list(together.values())


def said(row: Row) -> str:
    """What a prediction is compared by: what was read of it, else the reply."""
    answer = row.get("answer")
    return str(row.get("reply", "") if answer is None else answer)


def against_golds(row: Row, likeness: Callable[[str, str], float]) -> float:
    """How like an answer is to the gold that it is most like; a target may be a list of golds."""
    target = row.get("target")
    golds = target if isinstance(target, list) else [target]
    answer = said(row)
    return max(likeness(answer, str(gold)) for gold in golds)
