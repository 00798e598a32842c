"""What a critic's scores are worth: probabilities by isotonic regression or Platt's, thresholds at
recalls, precision with intervals.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune.core.rows import JsonObject
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.statistics.curves import line, rising, sigmoid
from synth.statistics.intervals import wilson

# Beside a cross-encoder that `finetune critic` trained: the map from the margin of its logits to a
# probability.
FILE = "calibration.json"
RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Calibration:
    """A rising map from a raw score to a probability.

    Attributes:
        kind: `isotonic`: straight lines between (x, y) points; `platt`: 1 / (1 + e^-(a x + b));
            `none`: as it is.
        x: points, or [a].
        y: their probabilities, or [b].
    """

    kind: Literal["isotonic", "platt", "none"] = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def __call__(self, score: float) -> float:
        """The probability, 0 to 1.

        >>> Calibration("isotonic", (0.0, 1.0), (0.2, 0.6))(0.5)
        0.4
        >>> Calibration("isotonic", (0.0, 1.0), (0.2, 0.6))(7.0)
        0.6
        """
        if self.kind == "platt":
            return sigmoid(self.x[0] * score + self.y[0])
        if self.kind == "none":
            return score
        position = bisect_right(self.x, score)
        if position in (0, len(self.x)):
            return self.y[0] if position == 0 else self.y[-1]
        left = self.x[position - 1]
        right = self.x[position]
        share = (score - left) / (right - left)
        return self.y[position - 1] + share * (
            self.y[position] - self.y[position - 1]
        )

    def record(self) -> JsonObject:
        """As a critic's file holds it."""
        return {"kind": self.kind, "x": list(self.x), "y": list(self.y)}

    @classmethod
    def load(cls, record: Row) -> Calibration:
        """What `record` wrote."""
        return cls(record["kind"], tuple(record["x"]), tuple(record["y"]))


def beside(folder: str | Path) -> Calibration | None:
    """The calibration that was left beside a model; None where there is none."""
    path = Path(folder) / FILE
    if path.is_file():
        return Calibration.load(json.loads(path.read_text(encoding="utf-8")))
    return None


def fit(
    scores: Sequence[float], labels: Sequence[bool], kind: str = "isotonic"
) -> Calibration:
    """Fits a calibration on labelled rows that the critic was not trained on (Zadrozny and Elkan
    2002; `platt`, 1999).

    Raises:
        WrongUse: no row.
    """
    if not len(scores):
        raise WrongUse(
            "calibration",
            "no labelled rows",
            "at least one, with its score and its label",
            "Label some rows that the critic was not trained on.",
        )
    if kind == "platt":
        slope, offset = line(scores, labels)
        return Calibration("platt", (slope,), (offset,))
    # A step is flat between its smallest and its largest score; between steps runs a line.
    points: dict[float, float] = {}
    for first, last, share in rising(scores, labels):
        points |= {float(first): share, float(last): share}
    return Calibration("isotonic", tuple(points), tuple(points.values()))


def threshold_at(
    scores: Sequence[float], labels: Sequence[bool], recall: float
) -> float:
    """The largest score that at least this share of the right rows reach.

    Raises:
        WrongUse: no row is right.

    >>> threshold_at([0.1, 0.4, 0.6, 0.9], [False, True, True, True], 0.6)
    0.6
    """
    right = sorted(
        (score for score, label in zip(scores, labels, strict=True) if label),
        reverse=True,
    )
    if not right:
        raise WrongUse(
            "threshold",
            f"{len(labels):,} labelled rows, none of them right",
            "at least one right row",
            "Label more rows.",
        )
    return right[max(0, -int(-recall * len(right) // 1) - 1)]


def recall_table(
    calibrated: tuple[Sequence[float], Sequence[bool]],
    held_out: tuple[Sequence[float], Sequence[bool]],
) -> list[dict[str, float]]:
    """For each of RECALLS: the threshold found on one set of (scores, labels), and what it gives on
    another.

    Returns:
        Rows of recall (wanted), least (the threshold), kept (share of all rows), found (recall on
        the other set), precision with its 95 % Wilson interval `low` to `high`.
    """
    table = []
    scores, labels = held_out
    for recall in RECALLS:
        least = threshold_at(*calibrated, recall)
        kept = [
            label
            for score, label in zip(scores, labels, strict=True)
            if score >= least
        ]
        right = sum(kept)
        count = len(kept)
        low, high = wilson(right, count)
        row = {
            "recall": recall,
            "least": least,
            "kept": count / max(1, len(labels)),
            "found": right / max(1, sum(labels)),
            "precision": right / max(1, count),
            "low": low,
            "high": high,
        }
        table.append({name: round(value, 4) for name, value in row.items()})
    return table


def precision_at_recall(
    scores: Sequence[float], labels: Sequence[bool], recall: float
) -> float:
    """Precision of the rows that score as high as it takes to find this share of the right ones.

    >>> precision_at_recall([0.9, 0.8, 0.7, 0.1], [True, False, True, True], 0.6)
    0.6666666666666666
    """
    least = threshold_at(scores, labels, recall)
    kept = [
        label
        for score, label in zip(scores, labels, strict=True)
        if score >= least
    ]
    return sum(kept) / len(kept)
