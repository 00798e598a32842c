"""A critic over a frozen encoder: its vectors, a linear layer, a calibration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.core.rows import JsonObject
from finetune.data.person_names import named
from finetune.scoring.calibration import Calibration
from finetune.students.opening import opening
from synth.local_models.minilm import folder_of
from synth.statistics.logistic import sigmoid

if TYPE_CHECKING:
    from finetune.core.arrays import (
        FeatureArray,
        ShareArray,
        VectorArray,
        WeightArray,
    )

FILE = "critic.json"
LABELS = ("rejected", "accepted")


class Encoder:
    """A frozen encoder that embeds each text once."""

    def __init__(self, model: str) -> None:
        from finetune.scoring.models import Model  # noqa: PLC0415 - torch

        todo = "Give a folder or a hub name."
        with opening(f"--model {model}", model, "an encoder", todo):
            self.model = Model("embed", folder_of(model))

    def vectors(self, texts: Sequence[str]) -> VectorArray:
        """[N, D] unit vectors."""
        from finetune.scoring.models import embedded  # noqa: PLC0415

        distinct = list(dict.fromkeys(texts))
        positions = {text: position for position, text in enumerate(distinct)}
        return embedded(self.model, distinct)[
            [positions[text] for text in texts]
        ]


def features(
    encoder: Encoder, pairs: Sequence[tuple[str, ...]]
) -> FeatureArray:
    """[N, 4 D + 1]: both vectors, their distance and product by dimension, and a one (InferSent,
    arXiv:1705.02364).
    """
    u = encoder.vectors([first for first, _ in pairs])
    v = encoder.vectors([second for _, second in pairs])
    return np.concatenate(
        [u, v, np.abs(u - v), u * v, np.ones((len(pairs), 1), np.float32)],
        axis=1,
    )


def seen_by(
    encoder: Encoder, pairs: Sequence[tuple[str, str]], passes: int
) -> list[FeatureArray]:
    """Features of all pairs, once for each pass with other names of persons."""

    def renamed(turn: int) -> list[tuple[str, ...]]:
        return [named(pair, turn) for pair in pairs]

    return [features(encoder, renamed(turn)) for turn in range(passes)]


def accepted_shares(table_: FeatureArray, weights: WeightArray) -> ShareArray:
    """[N] raw shares of rows by their features and the weights."""
    return sigmoid(table_ @ weights)


class FrozenCritic:
    """A critic that `finetune critic --frozen` wrote; what `finetune.scoring.worker` answers with.

    Args:
        folder: where it was written.
    """

    def __init__(self, folder: str | Path) -> None:
        content = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        self.encoder = Encoder(content["encoder"])
        self.weights = np.array(content["weights"])
        self.passes = content["passes"]
        self.calibration = Calibration.load(content["calibration"])

    def classify(self, pairs: Sequence[Sequence[str]]) -> JsonObject:
        """Labels and the probability of each, for every pair of texts."""
        texts = [(str(first), str(second)) for first, second in pairs]
        raw = []
        if texts:
            views = seen_by(self.encoder, texts, self.passes)
            shares = [accepted_shares(view, self.weights) for view in views]
            raw = np.mean(shares, axis=0)
        accepted = [self.calibration(float(value)) for value in raw]
        return {
            "labels": list(LABELS),
            "shares": [[1 - share, share] for share in accepted],
        }
