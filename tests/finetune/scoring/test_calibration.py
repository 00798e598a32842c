"""Calibration rises, thresholds keep their recall, tables hold what they say."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.scoring.calibration import (
    Calibration,
    fit,
    precision_at_recall,
    recall_table,
    threshold_at,
)
from synth.core.errors import WrongUse

PAIRS = st.lists(
    st.tuples(st.floats(0, 1), st.booleans()), min_size=4, max_size=40
).filter(lambda rows: 0 < sum(label for _, label in rows) < len(rows))


@given(PAIRS, st.sampled_from(["isotonic", "platt"]))
def test_a_calibration_is_a_probability_survives_its_file_and_isotonic_never_falls(
    pairs, kind
):
    curve = fit(*map(list, zip(*pairs, strict=True)), kind=kind)
    found = [curve(score) for score in sorted(score for score, _ in pairs)]
    assert all(0 <= value <= 1 for value in found)
    assert Calibration.load(curve.record()) == curve
    if kind == "isotonic":
        assert all(
            later >= earlier - 1e-9 for earlier, later in pairwise(found)
        )


@given(PAIRS, st.floats(0.05, 1))
def test_a_threshold_finds_its_share_and_no_higher_one_does(pairs, recall):
    scores, labels = map(list, zip(*pairs, strict=True))
    least = threshold_at(scores, labels, recall)
    right = [score for score, label in pairs if label]
    assert sum(score >= least for score in right) >= recall * len(right) - 1e-9
    assert sum(score > least for score in right) < recall * len(right)


def test_probabilities_become_right():
    rng = random.Random(1)
    rows = [
        (score := rng.random(), rng.random() < score**2) for _ in range(4000)
    ]
    for kind in ("isotonic", "platt"):
        curve = fit(*map(list, zip(*rows, strict=True)), kind=kind)
        assert curve(0.9) == pytest.approx(0.81, abs=0.08)
        assert curve(0.3) == pytest.approx(0.09, abs=0.08)


def test_the_table_measures_on_the_other_set():
    one = ([0.9, 0.8, 0.2, 0.1], [True, True, False, False])
    table = {
        row["recall"]: row
        for row in recall_table(one, ([0.95, 0.85, 0.7], [True, False, True]))
    }
    assert table[0.5] == {
        "recall": 0.5,
        "least": 0.9,
        "kept": 0.3333,
        "found": 0.5,
        "precision": 1.0,
        "low": 0.2065,
        "high": 1.0,
    }
    assert table[0.9]["precision"] == 0.5
    assert precision_at_recall(
        [0.9, 0.8, 0.7], [True, False, True], 1.0
    ) == pytest.approx(2 / 3)


@given(PAIRS, st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=9))
def test_isotonic_lines_are_those_of_scikit_learn(pairs, asked):
    reference = pytest.importorskip("sklearn.isotonic").IsotonicRegression(
        y_min=0.0, y_max=1.0, out_of_bounds="clip"
    )
    # Scikit-learn takes scores that differ by less than 1e-15 for equal.
    scores = [round(score, 6) for score, _ in pairs]
    labels = [label for _, label in pairs]
    reference.fit(scores, [float(label) for label in labels])
    curve = fit(scores, labels)
    assert [curve(score) for score in asked] == pytest.approx(
        reference.predict(asked).tolist(), abs=1e-9
    )


def test_platt_takes_margins_far_from_0_and_1_and_is_not_surer_than_its_rows():
    scores = [-40.0, -12.0, -3.0, 2.0, 9.0, 55.0]
    curve = fit(scores, [False, False, False, True, True, True], "platt")
    # Labels are smoothed to 4 / 5 and 1 / 5 of a row of each kind (Platt 1999).
    assert 0.5 < curve(2.0) < curve(55.0) <= 1.0
    assert 0.0 <= curve(-40.0) < curve(-3.0) < 0.5


def test_files_that_were_written_before_still_load():
    lines = {"kind": "isotonic", "x": [0.0, 1.0], "y": [0.2, 0.6]}
    assert Calibration.load(lines)(0.5) == pytest.approx(0.4)
    platt = {"kind": "platt", "x": [2.0], "y": [-1.0]}
    assert Calibration.load(platt)(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_no_labels_and_no_right_ones_are_said(kind):
    with pytest.raises(WrongUse, match="found no labelled rows"):
        fit([], [], kind=kind)
    for scores, labels in (([], []), ([0.2, 0.9], [False, False])):
        with pytest.raises(WrongUse, match="none of them right"):
            threshold_at(scores, labels, 0.9)
