"""Codes of vectors: levels by hand, and what every level takes off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.scoring.residual_codes import nearest_mean, residual_codes


def test_two_levels_by_hand():
    # Two heaps at 0 and 10, in each a step to the left or to the right: the first level finds the
    # heaps, the second one the steps, which are the same in both.
    points = np.array([[-1.0, 0.0], [1.0, 0.0], [9.0, 0.0], [11.0, 0.0]])
    found = residual_codes(points, levels=2, size=2, seed=0)
    first, second = found.codes.T
    assert first[0] == first[1] != first[2] == first[3]
    assert second[0] == second[2] != second[1] == second[3]
    assert sorted(found.books[0][:, 0]) == [0, 10]
    assert sorted(found.books[1][:, 0]) == [-1, 1]
    assert found.decoded().tolist() == points.tolist()


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 99))
def test_each_level_leaves_no_more_than_the_one_before(count, width, seed):
    points = np.random.default_rng(seed).normal(size=(count, width))
    lefts = []
    for levels in (1, 2, 3):
        found = residual_codes(points, levels, min(4, count), seed)
        assert found.codes.shape == (count, levels)
        lefts.append(np.square(points - found.decoded()).sum())
    assert lefts[2] <= lefts[1] + 1e-9
    assert lefts[1] <= lefts[0] + 1e-9


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 99))
def test_the_nearest_mean_is_that_of_all_distances(count, size, seed):
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(count, 3))
    means = draw.normal(size=(size, 3))
    apart = points[:, None] - means[None]
    distances = np.square(apart).sum(axis=2)
    assert (nearest_mean(points, means) == distances.argmin(axis=1)).all()


def test_the_means_of_a_level_are_those_of_their_points():
    points = np.random.default_rng(0).normal(size=(50, 3))
    found = residual_codes(points, levels=1, size=5, seed=0)
    for number, mean in enumerate(found.books[0]):
        own = points[found.codes[:, 0] == number]
        assert mean == pytest.approx(own.mean(axis=0))


def test_points_that_are_all_alike_have_a_code():
    found = residual_codes(np.ones((4, 2)), levels=2, size=3, seed=0)
    assert len({*map(tuple, found.codes.tolist())}) == 1
    assert found.decoded() == pytest.approx(np.ones((4, 2)))
