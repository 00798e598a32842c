"""Intervals and bounds of shares beside scipy's; areas beside scikit-learn's."""

from __future__ import annotations

import random
from math import isnan, sqrt

import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from synth.statistics.intervals import (
    Z95,
    auc,
    auc_interval,
    beta_cdf,
    lower_bound,
    wilson,
)


def test_known_values_and_edges():
    assert [round(x, 4) for x in wilson(300, 300)] == [0.9874, 1.0]
    assert [round(x, 4) for x in wilson(0, 10)] == [0.0, 0.2775]
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = random.Random(0), 0
    for _ in range(2000):
        low, high = wilson(sum(rng.random() < 0.9 for _ in range(100)), 100)
        hits += low <= 0.9 <= high
    assert 0.93 <= hits / 2000 <= 0.98


shares = st.integers(1, 400).flatmap(
    lambda count: st.tuples(st.integers(0, count), st.just(count))
)
LABELLED = st.lists(
    st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.booleans()),
    min_size=2,
    max_size=50,
).filter(lambda pairs: len({label for _, label in pairs}) == 2)


@given(shares, st.sampled_from([1.0, Z95, 2.58]))
def test_the_interval_is_that_of_scipy(share, z):
    hits, count = share
    level = 1 - 2 * scipy.stats.norm.sf(z)
    wanted = scipy.stats.binomtest(hits, count).proportion_ci(level, "wilson")
    assert wilson(hits, count, z) == pytest.approx(wanted, abs=1e-9)


@given(shares)
def test_right_and_wrong_change_places_in_the_interval(share):
    hits, count = share
    low, high = wilson(hits, count)
    other_low, other_high = wilson(count - hits, count)
    assert (1 - high, 1 - low) == pytest.approx((other_low, other_high))
    assert low - 1e-12 <= hits / count <= high + 1e-12


@given(shares, st.sampled_from([0.01, 0.05, 0.1, 0.5]))
def test_the_lower_bound_is_that_of_clopper_and_pearson(share, alpha):
    right, count = share
    test = scipy.stats.binomtest(right, count, alternative="greater")
    wanted = test.proportion_ci(1 - alpha, "exact").low
    assert lower_bound(right, count, alpha) == pytest.approx(wanted, abs=1e-7)


@given(
    st.floats(0.1, 200), st.floats(0.1, 200), st.sampled_from([0.05, 0.1, 0.3])
)
def test_the_lower_bound_of_counts_that_are_no_whole_numbers(
    right, wrong, alpha
):
    wanted = scipy.stats.beta.ppf(alpha, right, wrong + 1)
    found = lower_bound(right, right + wrong, alpha)
    assert found == pytest.approx(wanted, abs=1e-7)


@given(st.floats(0, 1), st.floats(0.05, 3000), st.floats(0.05, 3000))
def test_the_beta_distribution_is_that_of_scipy(x, a, b):
    wanted = scipy.special.betainc(a, b, x)
    assert beta_cdf(x, a, b) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "wanted"), [(-1, 0), (0, 0), (1, 1), (1.5, 1), (-0.0, 0)]
)
def test_the_beta_distribution_ends_at_0_and_1(x, wanted):
    assert beta_cdf(x, 2.0, 3.0) == wanted


@given(LABELLED)
def test_the_area_is_that_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    scores = [score for score, _ in pairs]
    labels = [label for _, label in pairs]
    wanted = metrics.roc_auc_score(labels, scores)
    assert auc(scores, labels) == pytest.approx(wanted)
    turned = [-score for score in scores]
    assert auc(turned, labels) == pytest.approx(1 - wanted)


@pytest.mark.parametrize("labels", [[], [True, True], [False]])
def test_one_kind_of_label_has_no_area(labels):
    assert isnan(auc([0.5] * len(labels), labels))


@given(st.floats(0.5, 1.0), st.integers(2, 200), st.integers(2, 200))
def test_the_ends_of_an_areas_interval_lie_z_errors_away(area, right, wrong):
    """Hanley and McNeil's variance with N* = (m + n) / 2 - 1 for both kinds, at each end."""
    for end in auc_interval(area, right, wrong):
        many = (right + wrong) / 2 - 1
        q1 = end / (2 - end)
        q2 = 2 * end * end / (1 + end)
        spread = many * (q1 - end * end) + many * (q2 - end * end)
        variance = (end * (1 - end) + spread) / (right * wrong)
        if end not in (0.0, 1.0) and abs(end - area) > 1e-6:
            assert abs(area - end) == pytest.approx(
                Z95 * sqrt(variance), rel=1e-6
            )


def test_an_area_of_one_is_not_sure():
    low, high = auc_interval(1.0, 5, 5)
    assert 0.5 < low < 0.75
    assert high == 1.0
    assert auc_interval(0.5, 0, 9) == (0.0, 1.0)
