"""Promises of precision: kept, refused with what is missing, and blind to order, scale and names."""

from __future__ import annotations

import random
import re

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.statistics.thresholds import (
    NotEnoughEvidence,
    calibrate,
)

SCORES = st.integers(0, 8).map(lambda n: n / 8)
LABELLED = st.lists(
    st.tuples(SCORES, st.sampled_from([True, True, True, False])),
    min_size=1,
    max_size=120,
)


def found_of(pairs, **settings):
    """The promise, or what is said instead."""
    scores = [score for score, _ in pairs]
    labels = [label for _, label in pairs]
    settings = {"target_precision": 0.7, "confidence": 0.8, **settings}
    try:
        return calibrate(scores, labels, **settings)
    except NotEnoughEvidence as error:
        return str(error)


@given(LABELLED)
def test_a_promise_says_what_its_threshold_keeps(pairs):
    found = found_of(pairs)
    if isinstance(found, str):
        return
    kept = [label for score, label in pairs if score >= found.least]
    assert found.kept == len(kept)
    assert found.precision == pytest.approx(sum(kept) / len(kept))
    right = sum(label for _, label in pairs)
    assert found.recall == pytest.approx(sum(kept) / right)
    assert found.rows == len(pairs)
    assert found.low >= found.target
    assert found.low <= found.precision
    assert found.least in [score for score, _ in pairs]


@given(LABELLED)
def test_the_bound_is_that_of_scipy_where_every_row_stands_alone(pairs):
    found = found_of(pairs)
    if isinstance(found, str) or not 0 < found.precision < 1:
        return
    right = round(found.precision * found.kept)
    test = scipy.stats.binomtest(right, found.kept, alternative="greater")
    wanted = test.proportion_ci(found.confidence, "exact").low
    # Rows that stand alone have a design effect of 1.
    assert found.low == pytest.approx(wanted, abs=1e-6)


@given(LABELLED, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_promise(pairs, rng):
    found = found_of(pairs)
    shuffled = found_of(rng.sample(pairs, len(pairs)))
    if isinstance(found, str):
        assert shuffled == found
    else:
        # Sums of floats differ in their last bit.
        assert shuffled.record() == pytest.approx(found.record())


@given(LABELLED, st.sampled_from([0.6, 0.8, 0.9]))
def test_a_higher_target_keeps_no_more_rows(pairs, target):
    lax = found_of(pairs, target_precision=0.5)
    strict = found_of(pairs, target_precision=target)
    if not isinstance(strict, str) and not isinstance(lax, str):
        assert strict.kept <= lax.kept


def test_a_promise_is_kept_as_often_as_it_says():
    rng = random.Random(4)
    broken = promised = 0
    for _ in range(80):
        scores = [rng.random() for _ in range(150)]
        labels = [rng.random() < 0.5 + 0.5 * score for score in scores]
        pairs = list(zip(scores, labels, strict=True))
        found = found_of(pairs, confidence=0.9)
        if isinstance(found, str):
            continue
        promised += 1
        # Of scores from `least` on, evenly spread, the mean of both ends is right.
        truth = 0.5 + 0.5 * (found.least + 1) / 2
        broken += truth < found.target
    assert promised > 50
    assert broken <= 0.15 * promised


def test_copies_of_rows_under_one_question_promise_nothing_more():
    rng = random.Random(1)
    pairs = [(rng.random(), rng.random() < 0.9) for _ in range(80)]
    alone = found_of(pairs)
    copies = [pair for pair in pairs for _ in range(5)]
    groups = [n // 5 for n in range(400)]
    grouped = found_of(copies, groups=groups)
    blind = found_of(copies)
    assert grouped.effective == pytest.approx(grouped.kept / 5, rel=0.25)
    assert grouped.low <= alone.precision
    assert grouped.kept <= blind.kept


def missing_of(error):
    number = re.search(r"label about ([\d,]+) more", str(error))
    return int(number[1].replace(",", ""))


@pytest.mark.parametrize(
    ("right", "wrong", "low"), [(38, 2, 40), (19, 1, 60), (6, 0, 54)]
)
def test_labels_that_are_asked_for_are_enough(right, wrong, low):
    """Good rows of which one score says so, and so many others."""
    pairs = [(0.9, True)] * right + [(0.9, False)] * wrong
    pairs += [(0.2, False)] * low
    with pytest.raises(NotEnoughEvidence) as error:
        calibrate(*zip(*pairs, strict=True), target_precision=0.9)
    missing = missing_of(error.value)
    times = -(-(len(pairs) + missing) // len(pairs))
    found = found_of(pairs * times, target_precision=0.9, confidence=0.9)
    assert found.least == 0.9


@pytest.mark.parametrize("precision", [0.5, 0.89])
def test_a_critic_below_the_target_is_no_matter_of_labels(precision):
    labels = [n < 100 * precision for n in range(100)]
    with pytest.raises(NotEnoughEvidence) as error:
        calibrate([0.5] * 100, labels, target_precision=0.9)
    assert error.value.missing is None
    said = str(error.value)
    assert "more labels will not help" in said
    assert "reaches precision 0.9" in said
    assert f"{precision:.3f}" in said


def test_no_rows_say_how_many_it_takes():
    with pytest.raises(NotEnoughEvidence) as error:
        calibrate([], [], target_precision=0.9, confidence=0.9)
    # 22 right rows of 22 promise 0.9 with confidence 0.9.
    assert error.value.missing == 22
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("wrong", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["target_precision", "confidence"])
def test_what_is_no_share_is_refused_by_its_value(name, wrong):
    settings = {"target_precision": 0.9, "confidence": 0.9, name: wrong}
    with pytest.raises(ValueError, match=re.escape(f"{name}={wrong}")):
        calibrate([0.5], [True], **settings)


def test_no_threshold_lies_below_the_lowest_score_that_may_be_kept():
    scores = [0.9] * 60 + [-1.0] * 60
    labels = [True] * 120
    free = calibrate(scores, labels, target_precision=0.9)
    assert free.least == -1.0
    bound = calibrate(scores, labels, target_precision=0.9, lowest=0.0)
    assert (bound.least, bound.kept, bound.rows) == (0.9, 60, 120)
    assert bound.recall == 0.5
    with pytest.raises(NotEnoughEvidence):
        calibrate([-1.0] * 9, [True] * 9, target_precision=0.9, lowest=0.0)


@pytest.mark.parametrize(
    ("labels", "groups", "says"),
    [
        ([True], None, "labels: found 1 for 2 scores"),
        ([True] * 3, None, "labels: found 3 for 2 scores"),
        ([True] * 2, ["a"], "groups: found 1 for 2 scores"),
    ],
)
def test_columns_of_other_lengths_are_refused(labels, groups, says):
    with pytest.raises(WrongUse, match=says):
        calibrate([0.5, 0.9], labels, groups, target_precision=0.5)
