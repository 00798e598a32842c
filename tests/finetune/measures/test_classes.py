"""The report of classes, against scikit-learn's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.classes import Classes
from synth.core.errors import WrongUse

LABELS = ("yes", "no", "not sure")
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from((*LABELS, "banana"))),
    min_size=1,
    max_size=20,
)


@given(PAIRS)
def test_it_is_scikit_learns(pairs):
    from sklearn.metrics import precision_recall_fscore_support

    rows = [{"answer": f"{a.title()}.", "target": g} for g, a in pairs]
    report = Classes().more(rows)
    golds = sorted({gold for gold, _ in pairs})
    wanted = precision_recall_fscore_support(
        [gold for gold, _ in pairs],
        [answer for _, answer in pairs],
        labels=golds,
        zero_division=0,
    )
    for place, name in enumerate(golds):
        found = report["classes"][name]
        for column, key in enumerate(("precision", "recall", "f1", "support")):
            assert found[key] == pytest.approx(wanted[column][place], abs=1e-4)
    assert report["macro_f1"] == pytest.approx(wanted[2].mean(), abs=1e-3)
    micro = precision_recall_fscore_support(
        [gold for gold, _ in pairs],
        [answer for _, answer in pairs],
        labels=golds,
        average="micro",
        zero_division=0,
    )
    assert report["micro_f1"] == pytest.approx(micro[2], abs=1e-4)
    right = sum(gold == answer for gold, answer in pairs)
    wrong = sum(one["count"] for one in report["confusions"])
    assert right + wrong == len(pairs)


def test_calibration_counts_where_there_are_confidences():
    rows = [
        {"answer": "yes", "target": "yes", "confidence": 0.9},
        {"answer": "yes", "target": "no", "confidence": 0.9},
    ]
    assert Classes().more(rows)["calibration_error"] == pytest.approx(0.4)
    assert "calibration_error" not in Classes().more(
        [{"target": "a", "reply": ""}]
    )


@pytest.mark.parametrize("confidence", [95, -0.1, float("nan"), "0.9"])
def test_a_confidence_that_is_no_chance_is_refused(confidence):
    row = {"answer": "yes", "target": "yes", "confidence": confidence}
    with pytest.raises(WrongUse, match="a chance from 0 to 1"):
        Classes().more([row])
    assert "calibration_error" not in Classes().more(
        [{**row, "confidence": None}]
    )


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30)
)
def test_the_brier_score_is_scikit_learns(drawn):
    from sklearn.metrics import brier_score_loss

    rows = [
        {
            "answer": "yes" if right else "no",
            "target": "yes",
            "confidence": chance,
        }
        for right, chance in drawn
    ]
    wanted = brier_score_loss(
        [right for right, _ in drawn], [chance for _, chance in drawn]
    )
    assert Classes().more(rows)["brier"] == pytest.approx(wanted, abs=1e-4)


def test_the_calibration_error_is_that_of_ten_bins_by_hand():
    drawn = [
        (0.05, False),
        (0.15, True),
        (0.12, False),
        (0.95, True),
        (0.93, False),
    ]
    rows = [
        {
            "answer": "yes" if right else "no",
            "target": "yes",
            "confidence": chance,
        }
        for chance, right in drawn
    ]
    # |0 - 0.05| of one, |0.5 - 0.135| of two, |0.5 - 0.94| of two.
    wanted = (0.05 + 2 * 0.365 + 2 * 0.44) / 5
    found = Classes().more(rows)["calibration_error"]
    assert found == pytest.approx(wanted, abs=1e-4)
