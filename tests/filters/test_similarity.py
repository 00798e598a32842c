"""Two texts of a row are near each other: by hashed words."""

from __future__ import annotations

import numpy as np
import pytest

from synth.filters.similarity import Similarity
from synth.local_models.scores import vectors

ROWS = [
    {"question": "where is the red pen", "answer": "the red pen is here"},
    {"question": "where is the red pen", "answer": "so so"},
    {"answer": "the red pen"},
]
CASE = ({"least": 0.3, "embedding": "hashing", "unknown": "drop"}, ROWS)
DATA = ("field", "other", "least")


def test_it_is_the_cosine_of_both_vectors():
    model = "hashing"
    part = Similarity(least=-1.0, embedding=model)
    found = part.judge_group(ROWS)
    for row, verdict in zip(ROWS[:2], found, strict=False):
        one, two = vectors([row["answer"], row["question"]], model)
        wanted = float(np.dot(one, two))
        assert verdict.marks["similarity"] == pytest.approx(wanted, abs=1e-4)
    assert found[2].keep is None


def test_the_same_text_is_as_near_as_can_be():
    row = {"question": "a red pen", "answer": "a red pen"}
    assert Similarity(least=0.999, embedding="hashing").judge(row).keep
