"""Logistic regression beside scikit-learn's, and its law: at the weights the gradient is zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.statistics.logistic import fit_logistic, sigmoid


@st.composite
def tables(draw):
    """(table [N, D], labels [N] of both kinds, penalty above zero)."""
    seed = draw(st.integers(0, 2**32 - 1))
    rows = draw(st.integers(2, 40))
    width = draw(st.integers(1, 60))
    size = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    rng = np.random.default_rng(seed)
    table = size * rng.normal(size=(rows, width))
    labels = rng.random(rows) < 0.5
    labels[:2] = [False, True]
    return table, labels, draw(st.sampled_from([1e-2, 1.0, 100.0]))


@given(tables())
def test_the_gradient_vanishes(given_table):
    table, labels, strength = given_table
    penalty = np.full(table.shape[1], strength)
    weights = fit_logistic(table, labels, penalty)
    gradient = table.T @ (labels - sigmoid(table @ weights))
    scale = np.abs(table).sum(axis=0).max() + strength * np.abs(weights).max()
    assert np.abs(gradient - penalty * weights).max() < 1e-6 * (1 + scale)


@given(tables())
def test_weights_are_those_of_scikit_learn(given_table):
    module = pytest.importorskip("sklearn.linear_model")
    table, labels, strength = given_table
    model = module.LogisticRegression(
        C=1 / strength, fit_intercept=False, max_iter=10_000, tol=1e-10
    ).fit(table, labels)
    weights = fit_logistic(table, labels, np.full(table.shape[1], strength))
    np.testing.assert_allclose(
        sigmoid(table @ weights),
        model.predict_proba(table)[:, 1],
        atol=1e-4,
    )


def test_an_intercept_without_penalty_gives_the_share():
    table = np.ones((10, 1))
    labels = np.arange(10) < 3
    weights = fit_logistic(table, labels, np.zeros(1))
    assert sigmoid(table @ weights) == pytest.approx(0.3)


def test_labels_that_part_cleanly_have_finite_weights():
    table = np.array([[1.0, x] for x in (-3, -2, 2, 3)])
    weights = fit_logistic(table, np.array([0, 0, 1, 1]), np.array([0, 0.1]))
    assert np.isfinite(weights).all()
    assert weights[1] > 1


@given(tables())
def test_a_larger_penalty_has_smaller_weights(given_table):
    table, labels, _ = given_table
    sizes = [
        np.linalg.norm(
            fit_logistic(table, labels, np.full(table.shape[1], strength))
        )
        for strength in (0.1, 10.0, 1000.0)
    ]
    assert sizes[0] >= sizes[1] - 1e-9
    assert sizes[1] >= sizes[2] - 1e-9
