"""A leak is a reply that is nearer to a concept than the reply of its control."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.measures.base import measured
from finetune.measures.leak import Leak
from synth.local_models.scores import vectors


def pair(group: str, concept: str, test: str, control: str) -> list[dict]:
    return [
        {"group": group, "variant": "control", "prompt": "c", "reply": control},
        {
            "group": group,
            "variant": "test",
            "concept": concept,
            "prompt": "t",
            "reply": test,
        },
    ]


ROWS = [
    *pair("a", "yellow", "a yellow bus", "a long bus"),
    *pair("b", "yellow", "a long bus", "a yellow bus"),
    *pair("c", "yellow", "a bus", "a bus"),
    *pair("d", "red pen", "a red pen here", "red"),
]


def test_it_is_the_comparison_of_cosines_by_hand():
    found = measured(Leak(), ROWS)
    values = []
    for control, test in zip(ROWS[::2], ROWS[1::2], strict=True):
        concept, one, two = vectors(
            [test["concept"], test["reply"], control["reply"]], "hashing"
        ).astype(np.float64)

        def cosine(a, b):
            return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

        gap = cosine(concept, one) - cosine(concept, two)
        values.append(0.5 if abs(gap) < 1e-6 else float(gap > 0))
    assert values == [1.0, 0.0, 0.5, 1.0]
    assert found["value"] == pytest.approx(sum(values) / 4)
    assert found["questions"] == 4


def test_a_pair_that_is_not_whole_says_nothing():
    assert measured(Leak(), ROWS[:1])["value"] is None
    without = [{**row, "concept": None} for row in ROWS[:2]]
    assert measured(Leak(), without)["value"] is None
