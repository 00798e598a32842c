"""A critic in seconds: logistic regression on a frozen encoder's vectors of two texts, calibrated,
with thresholds at recalls.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.recipes.critic import check_labels, split, table
from finetune.scoring import calibration
from finetune.scoring.frozen_critic import (
    FILE,
    Encoder,
    accepted_shares,
    seen_by,
)
from finetune.settings import TrainConfig
from finetune.students import load as student
from synth.statistics.intervals import auc
from synth.statistics.logistic import fit_logistic

if TYPE_CHECKING:
    from finetune.core.arrays import (
        FeatureArray,
        LabelArray,
        ShareArray,
        WeightArray,
    )

# Strengths of the penalty (1 / C) that are tried on the rows for calibration.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns are read, and how rows are shared out.

    Attributes:
        first: of the first text.
        second: of the second text, several joined by a space.
        label: whether a row is right.
        group: what draws of one seed, or statements about one head, share: whole groups are held
            out.
        held_out: share of the groups to measure on; as many more calibrate.
        passes: how often PersonX, PersonY and PersonZ are given names, each time others; scores are
            averaged.
    """

    first: str = "question"
    second: str = "rationale,answer"
    label: str = "is_correct"
    group: str = "question"
    held_out: float = 0.2
    passes: int = 1


def run(
    config: TrainConfig,
    *,
    columns: Columns | None = None,
    kind: str = "isotonic",
) -> JsonObject:
    """Trains on part of the groups, calibrates on another, measures on the rest; writes
    OUTPUT/critic.json for the filter `cross_encoder`.

    Returns:
        rows, seconds, auc, Brier score and `recalls` (see `calibration.recall_table`) of the
        held-out rows.

    Raises:
        WrongUse: missing columns, labels that are all alike in a part, no such encoder.
    """
    started = time.time()
    wanted = columns or Columns()
    rows = table(
        config.data, wanted.first, wanted.second, wanted.label, wanted.group
    )
    labels = np.array([row["labels"] for row in rows], dtype=bool)
    train, tune, held = parts_of(
        [row["group"] for row in rows], wanted.held_out
    )
    parts = {"train": train, "calibrate": tune, "measure": held}
    for name, part in parts.items():
        where = f"--input {config.data} {wanted.label}"
        check_labels(rows, part, name, where)
    texts = [(row["first"], row["second"]) for row in rows]
    views = seen_by(Encoder(config.model), texts, wanted.passes)
    weights = _fit(views, labels, train, tune)
    raw = _mean_shares(views, weights)
    curve = calibration.fit(raw[tune].tolist(), labels[tune].tolist(), kind)
    scores = np.array([curve(float(value)) for value in raw])
    info = {
        "model": config.model,
        "data": config.data,
        "rows": len(rows),
        "trained": len(train),
        "seconds": round(time.time() - started, 2),
        "held_out": _measured(raw[held], scores[held], labels[held]),
        "recalls": calibration.recall_table(
            (scores[tune].tolist(), labels[tune].tolist()),
            (scores[held].tolist(), labels[held].tolist()),
        ),
    }
    critic = {
        "encoder": config.model,
        "weights": weights.tolist(),
        "calibration": curve.record(),
        "passes": wanted.passes,
    }
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / FILE, {**critic, **info})
    return student.write_info(config, info)


def parts_of(
    groups: list[str], held_out: float
) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the rows to train on, to calibrate on and to measure on; the last two are of about
    equal size.
    """
    rest, held = split(groups, held_out)
    inner_train, inner_tune = split(
        [groups[number] for number in rest], held_out / (1 - held_out)
    )
    train = [rest[number] for number in inner_train]
    tune = [rest[number] for number in inner_tune]
    return train, tune, held


def _mean_shares(
    views: Sequence[FeatureArray], weights: WeightArray
) -> ShareArray:
    """[N] raw shares, the mean over the views of a row."""
    shares: ShareArray = np.mean(
        [accepted_shares(view, weights) for view in views], axis=0
    )
    return shares


def _measured(
    raw: ShareArray, scores: ShareArray, labels: LabelArray
) -> JsonObject:
    """Rows, share of right ones, area under the ROC curve and Brier score of held-out rows."""
    squares = (scores - labels) ** 2
    return {
        "rows": len(labels),
        "right": round(float(labels.mean()), 4),
        "auc": round(auc(raw.tolist(), labels.tolist()), 4),
        "brier": round(float(squares.mean()), 4),
    }


def _fit(
    views: Sequence[FeatureArray],
    labels: LabelArray,
    train: Sequence[int],
    tune: Sequence[int],
) -> WeightArray:
    """Weights of the penalty that orders the rows for calibration best; every view of a row
    counts.
    """
    stacked = np.concatenate([view[list(train)] for view in views])
    repeated = np.tile(labels[list(train)], len(views))
    width = stacked.shape[1]
    best_area = -1.0
    best = np.zeros(width)
    for strength in STRENGTHS:
        penalty = np.full(width, strength * len(views))
        weights = fit_logistic(stacked, repeated, penalty)
        raw = _mean_shares([view[list(tune)] for view in views], weights)
        area = auc(raw.tolist(), labels[list(tune)].tolist())
        if area > best_area:
            best_area = area
            best = weights
    return best
