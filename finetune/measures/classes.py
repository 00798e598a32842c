"""A report of classes: precision, recall and F1 of each, and what is taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.core.rows import JsonObject
from finetune.measures.base import Measure, said
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.statistics.curves import calibration_error
from synth.text.words import words


@dataclass(frozen=True, kw_only=True)
class Classes(Measure):
    """Accuracy, and for each class of the golds precision, recall, F1 and support; macro F1 is
    their mean, and micro F1 counts over all rows, of which an answer that is none of the classes is
    no answer. Predictions with a `confidence` from 0 to 1 bring the expected calibration error, and
    the Brier score: the mean squared distance of confidence and right (1) or wrong (0).

    Example:
        >>> report = Classes().more([{"answer": "Yes.", "target": "yes"}])
        >>> report["macro_f1"], report["classes"]["yes"]["support"]
        (1.0, 1)
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        return fmean(_label(said(row)) == _gold(row) for row in draws)

    def more(self, predictions: Sequence[Row]) -> JsonObject:
        """macro_f1, micro_f1, classes, confusions and, with confidences, calibration_error and
        brier.
        """
        pairs = Counter((_gold(row), _label(said(row))) for row in predictions)
        return {**report_of(pairs), **_calibration(predictions)}


def report_of(pairs: Counter[tuple[str, str]]) -> JsonObject:
    """macro_f1, micro_f1, classes and confusions.

    Args:
        pairs: how often a gold (first) was answered so (second).

    Example:
        >>> report_of(Counter({("a", "a"): 2, ("b", "a"): 1}))["macro_f1"]
        0.4
    """
    golds = sorted({gold for gold, _ in pairs})
    report = {name: _scores(name, pairs) for name in golds}
    wrong = []
    for (gold, answer), count in pairs.most_common():
        if gold != answer:
            confusion = {"gold": gold, "answer": answer, "count": count}
            wrong.append(confusion)
    scores = [score["f1"] for score in report.values()] or [0.0]
    return {
        "macro_f1": round(fmean(scores), 4),
        "micro_f1": _micro(pairs),
        "classes": report,
        "confusions": wrong[:20],
    }


def _label(text: str) -> str:
    return " ".join(words(text.casefold()))


def _gold(row: Row) -> str:
    return _label(str(row.get("target")))


def _scores(name: str, pairs: Counter[tuple[str, str]]) -> dict[str, float]:
    """Precision, recall, F1 and support of one class."""
    answered = 0
    support = 0
    for (gold, answer), count in pairs.items():
        if answer == name:
            answered += count
        if gold == name:
            support += count
    right = pairs[name, name]
    precision = right / max(1, answered)
    recall = right / support
    f1 = 2 * right / (answered + support)
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "support": support,
    }


def _micro(pairs: Counter[tuple[str, str]]) -> float:
    """F1 over all rows: what is right against what was answered with a class and what there is."""
    golds = {gold for gold, _ in pairs}
    right = 0
    answered = 0
    for (gold, answer), count in pairs.items():
        right += count * (gold == answer)
        answered += count * (answer in golds)
    return round(2 * right / max(1, answered + pairs.total()), 4)


def _calibration(predictions: Sequence[Row]) -> JsonObject:
    chances: list[float] = []
    labels: list[bool] = []
    for number, row in enumerate(predictions, 1):
        confidence = row.get("confidence")
        if confidence is None:
            continue
        is_number = isinstance(confidence, int | float)
        if not is_number or not 0 <= confidence <= 1:
            raise WrongUse(
                f"--measure classes, row {number}",
                f"confidence = {confidence!r:.80}",
                "a chance from 0 to 1",
                "Correct the column, or give it another name.",
            )
        chances.append(float(confidence))
        labels.append(_label(said(row)) == _gold(row))
    if not chances:
        return {}
    error = calibration_error(chances, labels)
    squares = [
        (chance - label) ** 2
        for chance, label in zip(chances, labels, strict=True)
    ]
    return {
        "calibration_error": round(error, 4),
        "brier": round(fmean(squares), 4),
    }
