"""A small critic: logistic regression over what `critics.features` sees, trained on labelled rows,
in numpy alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synth.core.errors import WrongUse
from synth.core.records import Row, group_by
from synth.core.rows import field_text, seeds_of
from synth.critics.calibration import labels_of
from synth.critics.features import NAMES, features
from synth.local_models.scores import vectors
from synth.statistics.logistic import fit_logistic, sigmoid
from synth.statistics.thresholds import calibrate

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Weights over standardised features; `columns` maps a column to the values that were seen of
    it.

    Attributes:
        rows: labelled rows that it was trained on.
        threshold: what `calibrate` promised, None before.
    """

    columns: Mapping[str, Sequence[str]]
    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[float]
    rows: int
    threshold: Row | None = None
    embedding: str | None = None

    def scores(
        self, rows: Sequence[Row], *, group: str = "question"
    ) -> list[float]:
        """The probability of each row to be right, as the model sees it (0 to 1); rows with the
        same `group` are draws of one question.
        """
        fitted = Logistic(
            np.array(self.mean), np.array(self.scale), np.array(self.weights)
        )
        return [
            float(p)
            for p in fitted.chances(
                _table(rows, group, self.columns, self.embedding)
            )
        ]

    def calibrated(
        self,
        rows: Sequence[Row],
        *,
        label: str = "is_correct",
        group: str = "question",
        target_precision: float,
        confidence: float = 0.9,
    ) -> Model:
        """The same model with a threshold whose precision is promised; `rows` must be others than
        those of `fit`.

        Raises:
            NotEnoughEvidence: no threshold can be promised; says how many labels are missing.
        """
        calibration = calibrate(
            self.scores(rows, group=group),
            labels_of(rows, label),
            seeds_of(rows, group),
            target_precision=target_precision,
            confidence=confidence,
        )
        return replace(self, threshold=calibration.record())

    def save(self, path: str | Path) -> None:
        """Writes the model as JSON."""
        Path(path).write_text(
            json.dumps({"features": NAMES, **asdict(self)}, indent=2) + "\n",
            encoding="utf-8",
        )

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads what `save` wrote.

        Raises:
            WrongUse: no such file, or a model over other features.
        """
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
            if tuple(fields.pop("features")) != NAMES:
                raise WrongUse(
                    str(path),
                    "a model over other features",
                    "a model of this version",
                    "Train it again.",
                )
            return cls(**fields)
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:
            if isinstance(error, WrongUse):
                raise
            raise WrongUse(
                str(path),
                f"{type(error).__name__}: {error}",
                "a model that `save` wrote",
                "Check the path.",
            ) from error


def fit(
    rows: Sequence[Row],
    *,
    label: str = "is_correct",
    group: str = "question",
    columns: Sequence[str] = (),
    embedding: str | None = None,
    ridge: float | None = None,
) -> Model:
    """Trains a critic on labelled rows.

    Args:
        rows: with `answer` and `rationale` (or `completion`), `question`, and the label.
        label: the column that says whether a row is right.
        group: the column that draws of one question share.
        columns: further columns whose values count, and weigh agreement: `teacher` where several
            wrote.
        embedding: sentence vectors of the rationale count too: a folder or a name of the hub, or
            `hashing`; None for none.
        ridge: strength of the L2 penalty; None for 3, with vectors 100.

    Raises:
        WrongUse: a row without a label, or labels that are all alike.
    """
    labels = np.array(labels_of(rows, label), dtype=float)
    if not 0 < labels.mean() < 1:
        raise WrongUse(
            f"labels in {label!r}",
            "labels that are all alike",
            "right rows and wrong ones",
            "Label more rows.",
        )
    values_of_column = {}
    for name in columns:
        values_of_column[name] = sorted({str(row.get(name)) for row in rows})
    made = Logistic.fit(
        _table(rows, group, values_of_column, embedding),
        labels,
        ridge or (100.0 if embedding else 3.0),
    )
    mean, scale, weights = (
        part.tolist() for part in (made.mean, made.scale, made.weights)
    )
    return Model(
        columns=values_of_column,
        mean=mean,
        scale=scale,
        weights=weights,
        rows=len(rows),
        embedding=embedding,
    )


@dataclass(frozen=True)
class Logistic:
    """A penalised logistic regression over standardised columns; the first weight is the
    intercept.
    """

    mean: Array
    scale: Array
    weights: Array

    @classmethod
    def fit(cls, table: Array, labels: Array, ridge: float) -> Logistic:
        """Of columns [N, D] and labels [N] of 0 and 1."""
        mean = table.mean(axis=0)
        scale = table.std(axis=0) + 1e-9
        design = _design(table, mean, scale)
        penalty = np.full(design.shape[1], ridge)
        penalty[0] = 0.0
        return cls(mean, scale, fit_logistic(design, labels, penalty))

    def chances(self, table: Array) -> Array:
        """[N] probabilities of rows [N, D]."""
        return sigmoid(_design(table, self.mean, self.scale) @ self.weights)


def _design(table: Array, mean: Array, scale: Array) -> Array:
    return np.concatenate(
        [np.ones((len(table), 1)), (table - mean) / scale], axis=1
    )


def _table(
    rows: Sequence[Row],
    group: str,
    columns: Mapping[str, Sequence[str]],
    embedding: str | None,
) -> Array:
    """Features, then one column per known value, then that value times agreement and lead, then the
    vector of the rationale.
    """
    table = np.zeros((len(rows), len(NAMES)))
    seeds = seeds_of(rows, group)
    for members in group_by(range(len(rows)), seeds.__getitem__).values():
        table[members] = features([rows[n] for n in members])
    for name, values in columns.items():
        present = np.array([str(row.get(name)) for row in rows], dtype=object)
        is_value = (present[:, None] == np.array(values, dtype=object)).astype(
            float
        )
        table = np.concatenate(
            [
                table,
                is_value,
                is_value * table[:, :1],
                is_value * table[:, 1:2],
            ],
            axis=1,
        )
    if embedding:
        table = np.concatenate(
            [
                table,
                vectors(
                    [field_text(row, "rationale") for row in rows], embedding
                ),
            ],
            axis=1,
        )
    return table
