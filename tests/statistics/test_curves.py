"""Curves of probabilities beside scikit-learn's and scipy's, and the laws that they keep."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from synth.statistics.curves import (
    FEWEST_ISOTONIC,
    bins,
    calibration_error,
    choose,
    isotonic,
    line,
    platt,
    probability,
    rising,
    sigmoid,
)

# Steps of a sixteenth: scores meet, as those of votes do.
SCORES = st.integers(0, 16).map(lambda n: n / 16)
PAIRS = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=40)


def columns(pairs):
    return [score for score, _ in pairs], [label for _, label in pairs]


@given(st.floats(-800, 800))
def test_the_sigmoid_is_that_of_scipy(x):
    assert sigmoid(x) == pytest.approx(scipy.special.expit(x), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "wanted"),
    [(inf, 1.0), (-inf, 0.0), (1e9, 1.0), (-1e9, 0.0), (0, 0.5)],
)
def test_the_sigmoid_holds_at_any_size(x, wanted):
    assert sigmoid(x) == wanted


@given(PAIRS)
def test_steps_are_those_of_scikit_learn(pairs):
    module = pytest.importorskip("sklearn.isotonic")
    scores, labels = columns(pairs)
    wanted = module.IsotonicRegression().fit(scores, labels).predict(scores)
    curve = isotonic(scores, labels)
    found = [probability(curve, score) for score in scores]
    assert found == pytest.approx(list(wanted))


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_labels_changes_no_step(pairs, rng):
    shuffled = rng.sample(pairs, len(pairs))
    np.testing.assert_allclose(
        rising(*columns(pairs)), rising(*columns(shuffled)), atol=1e-12
    )


def smoothed(labels):
    """Platt's targets, as his paper has them."""
    right = sum(labels)
    wrong = len(labels) - right
    high = (right + 1) / (right + 2)
    return np.where(labels, high, 1 / (wrong + 2))


@given(
    st.lists(
        st.tuples(st.integers(-40, 40).map(lambda n: n / 8), st.booleans()),
        min_size=2,
        max_size=40,
    )
)
def test_no_optimiser_finds_a_likelier_line(pairs):
    values, labels = columns(pairs)
    wanted = smoothed(labels)
    x = np.array(values)

    def error(weights):
        z = weights[0] * x + weights[1]
        return float(np.sum(np.logaddexp(0, z) - wanted * z))

    found = error(line(values, labels))
    best = scipy.optimize.minimize(error, [0.0, 0.0], method="BFGS").fun
    assert found <= best + 1e-4 * len(pairs)


@given(st.floats(-3, 3).filter(lambda factor: abs(factor) > 0.1))
def test_a_line_turns_and_stretches_with_its_values(factor):
    values = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5]
    labels = [False, False, True, False, True, True, True]
    a, b = line(values, labels)
    turned, offset = line([factor * value for value in values], labels)
    assert turned * factor == pytest.approx(a, abs=0.01)
    assert offset == pytest.approx(b, abs=0.01)


@pytest.mark.parametrize("labels", [[True] * 5, [False] * 5, [True], [False]])
def test_labels_of_one_kind_make_a_line_that_is_finite(labels):
    values = [0.5 * n for n in range(len(labels))]
    a, b = line(values, labels)
    chances = [sigmoid(a * value + b) for value in values]
    assert all(abs(weight) < 50 for weight in (a, b))
    assert all((chance > 0.5) == labels[0] for chance in chances)


def test_margins_that_part_by_thousands_have_a_finite_slope():
    values = [-4000.0, -3000.0, 3000.0, 4000.0]
    a, b = line(values, [False, False, True, True])
    assert 0 < a < 1
    assert sigmoid(a * 3500 + b) > 0.7


@given(PAIRS)
def test_a_curve_of_platt_keeps_or_turns_the_order_of_scores(pairs):
    curve = platt(*columns(pairs))
    grid = [probability(curve, n / 16) for n in range(17)]
    assert grid in (sorted(grid), sorted(grid, reverse=True))
    assert all(0 <= chance <= 1 for chance in grid)


@pytest.mark.parametrize(
    ("score", "wanted"), [(-0.5, 0.0), (0.0, 0.0), (0.3, 0.3), (1.7, 1.0)]
)
def test_a_raw_score_is_bounded_to_a_probability(score, wanted):
    assert probability({"kind": "raw"}, score) == wanted


@given(PAIRS)
def test_the_error_is_the_sum_over_tenths_as_the_paper_has_it(pairs):
    scores, labels = columns(pairs)
    total = 0.0
    for tenth in range(10):
        inside = [
            (score, label)
            for score, label in pairs
            if tenth / 10 <= score < (tenth + 1) / 10
            or (tenth, score) == (9, 1)
        ]
        if inside:
            said = np.mean([score for score, _ in inside])
            right = np.mean([label for _, label in inside])
            total += len(inside) * abs(said - right)
    found = calibration_error(scores, labels)
    assert found == pytest.approx(total / len(pairs), abs=2e-4)


def test_nothing_has_no_error_and_no_bins():
    assert calibration_error([], []) == 0.0
    assert bins([], []) == []


def test_a_free_curve_is_tried_from_a_thousand_labels_on():
    rng = np.random.default_rng(0)
    scores = rng.random(4 * FEWEST_ISOTONIC)
    # Two steps, which no sigmoid follows.
    chances = np.select([scores < 0.2, scores < 0.8], [0.9, 0.1], 0.5)
    labels = rng.random(len(scores)) < np.sort(chances)
    order = np.argsort(scores)
    straight = np.empty(len(scores), bool)
    straight[order] = labels
    chosen = choose(scores.tolist(), straight.tolist(), range(len(scores)))
    assert chosen["kind"] == "isotonic"
    few = slice(0, FEWEST_ISOTONIC - 1)
    chosen = choose(
        scores[few].tolist(), straight[few].tolist(), range(len(scores[few]))
    )
    assert chosen["kind"] != "isotonic"
