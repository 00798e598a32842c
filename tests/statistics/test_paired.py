"""Paired tests, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synth.statistics.paired import mcnemar, mean_interval


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_the_exact_binomial_test(pairs):
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    wins = sum(one and not two for one, two in pairs)
    split = sum(one != two for one, two in pairs)
    wanted = stats.binomtest(wins, split, 0.5).pvalue if split else 1.0
    assert mcnemar(first, second) == pytest.approx(wanted)


def test_mcnemar_is_exact_for_many():
    assert (
        mcnemar([True] * 900 + [False] * 1100, [False] * 900 + [True] * 1100)
        < 1e-4
    )


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(3, 2, 400).tolist()
    low, high = mean_interval(values)
    error = np.std(values) / 20
    assert low == pytest.approx(np.mean(values) - 1.96 * error, abs=0.03)
    assert high == pytest.approx(np.mean(values) + 1.96 * error, abs=0.03)
    assert mean_interval(values) == (low, high)
    assert mean_interval([]) == (0.0, 0.0)
    assert mean_interval([2.0]) == (2.0, 2.0)
