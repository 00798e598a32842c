"""Logistic regression with a penalty, in numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = Annotated[NDArray[np.floating], "row feature"]
    Labels = Annotated[NDArray[np.floating] | NDArray[np.bool_], "row"]
    Weights = Annotated[NDArray[np.float64], "feature"]
    Probabilities = Annotated[NDArray[np.float64], "row"]

_NEWTON_STEPS = 200
_SETTLED = 1e-8
# How much of what the slope promises a step must bring, and the least share of a step (Nocedal and
# Wright, "Numerical Optimization", section 3.1).
_ARMIJO = 1e-4
_LEAST_SHARE = 1e-6
# What sums of doubles lose.
_ROUNDING = 1e-13
# Keeps a curvature that is singular solvable.
_JITTER = 1e-9


def sigmoid(raw: Probabilities) -> Probabilities:
    """[N] probabilities of log-odds."""
    # exp(709) is the largest double.
    bounded = np.clip(raw, -500, 500)
    return np.asarray(1 / (1 + np.exp(-bounded)))


def fit_logistic(table: Table, labels: Labels, penalty: Weights) -> Weights:
    """[D] weights that minimise the negative log-likelihood plus penalty * weight^2 / 2, by
    Newton's method; a step that leads up is halved.

    Args:
        table: [N, D]; a column of ones is an intercept.
        labels: [N] of 0 and 1.
        penalty: [D], 0 or more; of an intercept usually 0.

    >>> table = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    >>> fit_logistic(table, np.array([0, 0, 1, 1]), np.array([0.0, 1.0])).round(3)
    array([-1.437,  0.958])
    """
    table = table.astype(np.float64)
    width = table.shape[1]
    weights = np.zeros(width)
    ridge = np.diag(penalty + _JITTER)
    for _ in range(_NEWTON_STEPS):
        probabilities = sigmoid(table @ weights)
        errors = labels - probabilities
        gradient = table.T @ errors - penalty * weights
        variances = probabilities * (1 - probabilities)
        weighted = variances[:, None] * table
        curvature = table.T @ weighted + ridge
        step = np.linalg.solve(curvature, gradient)
        # A whole step may lead up where probabilities near 0 and 1 make the curvature small.
        loss = _loss(table, labels, penalty, weights)
        promise = float(gradient @ step)
        share = 1.0
        while share > _LEAST_SHARE and not _falls(
            _loss(table, labels, penalty, weights + share * step),
            loss - _ARMIJO * share * promise,
        ):
            share /= 2
        weights += share * step
        largest = np.abs(share * step).max()
        if largest < _SETTLED:
            break
    return weights


def _loss(
    table: Table, labels: Labels, penalty: Weights, weights: Weights
) -> float:
    """The penalised negative log-likelihood."""
    raw = table @ weights
    likelihood = np.logaddexp(0, raw) - labels * raw
    ridge = penalty * weights**2 / 2
    return float(likelihood.sum() + ridge.sum())


def _falls(loss: float, most: float) -> bool:
    """Whether a loss is at most so much, but for what rounding takes."""
    return loss <= most + _ROUNDING * abs(most)
