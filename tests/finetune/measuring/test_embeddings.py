"""Measures of vectors against slow ones, and scikit-learn's."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring.embeddings import anisotropy, bitext, voted
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune


def table(seed: int, count: int = 12, width: int = 5):
    drawn = np.random.default_rng(seed).normal(size=(count, width)) + 0.3
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@given(st.integers(0, 10_000))
def test_translations_are_found_as_by_hand(seed):
    source = table(seed)
    target = source + 0.4 * table(seed + 1)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    found = bitext(source, target)
    products = source @ target.T
    forward = products.argmax(axis=1)
    backward = products.argmax(axis=0)
    numbers = np.arange(12)
    assert found["forward"]["share"] == pytest.approx(
        (forward == numbers).mean(), abs=1e-4
    )
    assert found["backward"]["share"] == pytest.approx(
        (backward == numbers).mean(), abs=1e-4
    )
    mutual = [n for n in range(12) if backward[forward[n]] == n]
    right = sum(forward[n] == n for n in mutual)
    precision, recall = right / max(1, len(mutual)), right / 12
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    assert found["f1"] == pytest.approx(f1, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_labels_are_those_of_scikit_learns_neighbours_but_where_votes_tie(
    seed, k
):
    from sklearn.neighbors import KNeighborsClassifier

    held, queries = table(seed, 20), table(seed + 1, 8)
    labels = [str(n) for n in np.random.default_rng(seed).integers(0, 3, 20)]
    found = voted(queries, held, labels, k)
    # Of unit vectors the nearest by Euclid are the nearest by cosine.
    model = KNeighborsClassifier(n_neighbors=k).fit(held, labels)
    shares = model.predict_proba(queries)
    for place, label in enumerate(found):
        best = shares[place].max()
        leading = model.classes_[shares[place] == best]
        assert label in leading
    if k == 1:
        assert found == list(model.predict(queries))


def test_of_labels_that_tie_the_nearest_texts_counts():
    held = np.array([[1.0, 0.0], [0.8, 0.6]])
    assert voted(np.array([[0.9, 0.1]]), held, ["b", "a"], 2) == ["b"]


@given(st.integers(0, 10_000))
def test_anisotropy_is_the_mean_over_all_pairs(seed):
    drawn = table(seed, 6)
    found = anisotropy(drawn)

    def mean(rows) -> float:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return float(
            np.mean([unit[i] @ unit[j] for i, j in permutations(range(6), 2)])
        )

    assert found["mean_cosine"] == pytest.approx(mean(drawn), abs=1e-4)
    centred = drawn - drawn.mean(axis=0)
    assert found["centred"] == pytest.approx(mean(centred), abs=1e-4)
    values = np.linalg.eigvalsh(np.cov(drawn.T))
    first = values.max() / values.sum()
    assert found["first_direction"] == pytest.approx(first, abs=1e-4)


def test_ends_of_anisotropy():
    assert anisotropy(np.ones((4, 3)))["mean_cosine"] == 1.0
    across = anisotropy(np.concatenate([np.eye(3), -np.eye(3)]))
    assert across["mean_cosine"] == pytest.approx(-0.2)
    with pytest.raises(WrongUse, match="1 texts"):
        anisotropy(np.ones((1, 3)))


def test_a_command_measures_what_there_are_rows_for(tmp_path):
    pairs = [
        {"source": f"a {word} pen", "target": f"the {word} hat"}
        for word in ("red", "blue", "old", "tall")
    ]
    known = [
        {"text": "red blue green", "label": "colour"},
        {"text": "one two three", "label": "number"},
    ]
    asked = [
        {"text": "blue green", "label": "colour"},
        {"text": "two", "label": "number"},
        {"text": "three red blue", "label": "number"},
    ]
    code, said = finetune(
        "evaluate-embeddings", "hashing",
        "--bitext", write(tmp_path / "b.jsonl", pairs),
        "--labelled", write(tmp_path / "l.jsonl", known),
        "--input", write(tmp_path / "a.jsonl", asked),
        "--k", 1,
        "--output", tmp_path / "e",
    )  # fmt: skip
    assert code == 0, said
    info = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert info["bitext"]["forward"]["share"] == 1.0
    assert info["classes"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert info["anisotropy"]["texts"] == 11
    code, said = finetune(
        "evaluate-embeddings", "hashing", "--output", tmp_path / "f"
    )
    assert code == 2
    assert "--bitext" in said
