"""The contract of a measure: predictions in, a number a question out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from finetune.core.rows import JsonObject
from synth.core.errors import WrongUse
from synth.core.records import Row, canonical_json
from synth.statistics.paired import mean_interval


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """Base of all measures of `finetune evaluate --measure` and `finetune measure`.

    Predictions are the rows of predictions.jsonl: `prompt`, `target`, `reply`, and what its parser
    read, `answer` and `right`. Several draws of a question stand one behind the other.
    """

    # Whether it holds answers against golds; one that counts what is right needs none.
    needs_gold: ClassVar[bool] = True

    @abstractmethod
    def of_question(self, draws: Sequence[Row]) -> float | None:
        """What the draws of one question are worth, from 0 to 1; None where it says nothing of
        them.
        """

    def units(self, predictions: Sequence[Row]) -> Mapping[bytes, list[Row]]:
        """What tells a question from others -> its rows: the draws of a prompt."""
        return by_question(predictions)

    def more(self, predictions: Sequence[Row]) -> JsonObject:  # noqa: ARG002
        """What it says of all of them besides."""
        return {}


def measured(measure: Measure, predictions: Sequence[Row]) -> JsonObject:
    """The mean over questions with its 95 % bootstrap interval, and what the measure says besides.

    Returns:
        value, low, high, questions, and the measure's own; value is None where no question counts.
    """
    counted = [row for row in predictions if counts(measure, row)]
    values: list[float] = []
    for draws in measure.units(counted).values():
        value = measure.of_question(draws)
        if value is not None:
            values.append(value)
    low, high = mean_interval(values)
    mean = None
    if values:
        mean = round(fmean(values), 4)
    return {
        "value": mean,
        "low": round(low, 4),
        "high": round(high, 4),
        "questions": len(values),
        **measure.more(counted),
    }


def counts(measure: Measure, row: Row) -> bool:
    """Whether a measure says anything of a prediction: of one without a gold, most do not."""
    return not measure.needs_gold or row.get("target") is not None


def questions(predictions: Sequence[Row]) -> list[list[Row]]:
    """The draws of each question, in the order of their first ones."""
    return list(by_question(predictions).values())


def by_question(predictions: Sequence[Row]) -> dict[bytes, list[Row]]:
    """What tells a question from others -> its draws."""
    together: dict[bytes, list[Row]] = {}
    for row in predictions:
        asked = [row.get("prompt"), row.get("target")]
        key = canonical_json(asked)
        together.setdefault(key, []).append(row)
    return together


# Columns of a row that an evaluation keeps, for measures of several rows of one question.
OF_GROUPS = (
    "group",
    "variant",
    "concept",
    "language",
    "confidence",
    "known",
    "highlights",
)


def by_group(
    predictions: Sequence[Row], measure: str
) -> dict[bytes, list[Row]]:
    """`group` -> its rows, in the order of the first ones.

    Raises:
        WrongUse: a row without a group.
    """
    together: dict[bytes, list[Row]] = {}
    for number, row in enumerate(predictions, 1):
        if row.get("group") is None:
            raise WrongUse(
                f"--measure {measure}, row {number}",
                "no `group`",
                "a name that all forms of a question share",
                "Write it into the column `group` of the rows, and evaluate.",
            )
        key = canonical_json([row["group"]])
        together.setdefault(key, []).append(row)
    return together


def of_variant(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of a variant."""
    return [row for row in rows if row.get("variant") == name]


def said(row: Row) -> str:
    """What a prediction is compared by: what was read of it, else the reply."""
    answer = row.get("answer")
    if answer is None:
        return reply_of(row)
    return " ".join(map(str, answer if isinstance(answer, list) else [answer]))


def reply_of(row: Row) -> str:
    """What the student said; "" where it said nothing."""
    reply = row.get("reply")
    return "" if reply is None else str(reply)


def against_golds(row: Row, likeness: Callable[[str, str], float]) -> float:
    """How like an answer is to the gold that it is most like; a target may be a list of golds. An
    empty gold, or an empty list, wants an empty answer.
    """
    target = row.get("target")
    golds = target if isinstance(target, list) else [target]
    answer = said(row)
    texts = [str(gold) for gold in golds if str(gold).strip()]
    if not texts:
        return float(not answer.strip())
    return max(likeness(answer, text) for text in texts)
