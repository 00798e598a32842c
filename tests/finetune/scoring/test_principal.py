"""Principal components against scikit-learn's, and vectors that are shortened by them."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.scoring.principal import principal, shortened
from synth.core.errors import WrongUse


def test_components_are_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    vectors = np.random.default_rng(0).normal(size=(40, 6))
    vectors[:, 2] *= 5
    found = principal(vectors, 3)
    wanted = decomposition.PCA(3).fit(vectors).components_
    assert np.allclose(np.abs(found), np.abs(wanted), atol=1e-6)


def test_vectors_are_their_places_along_the_components():
    table = {"a": [3.0, 1.0, 0.0], "b": [0.0, 1.0, 0.0], "c": [-3.0, 1.0, 0.1]}

    def encode(texts):
        return [table[text] for text in texts]

    short = shortened(encode, ["a", "b", "c", "a"], 1)
    places = np.abs(np.array(short(["a", "b"])))
    assert places[0, 0] == pytest.approx(3.0, abs=0.05)
    # The second number is the same everywhere and is none of the components.
    assert places[1, 0] == pytest.approx(0.0, abs=0.05)
    with pytest.raises(WrongUse, match="as many texts as numbers"):
        shortened(encode, ["a", "b"], 3)
