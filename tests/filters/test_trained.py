"""The small critic, and thresholds with a promise: on made labels of known truth and on real rows."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from synth.core.errors import Unreadable, WrongUse
from synth.critics.features import NAMES, features
from synth.critics.trained_model import Model, fit
from synth.filters.trained import Trained
from synth.inputs.seeds import read_rows
from synth.parsers.final_number import FinalNumber
from synth.statistics.intervals import auc, beta_cdf, lower_bound
from synth.statistics.thresholds import (
    NotEnoughEvidence,
    calibrate,
    design_effect,
)
from tests.conftest import SHARED

DEV = SHARED / "gsm8k" / "solutions_dev.jsonl"


def test_the_bound_is_that_of_clopper_and_pearson():
    # One-sided bounds as in published tables: 0 errors in 22, 45 and 230 (90 %).
    assert lower_bound(22, 22, 0.1) == pytest.approx(0.1 ** (1 / 22))
    assert lower_bound(45, 45, 0.1) == pytest.approx(0.1 ** (1 / 45))
    assert lower_bound(0, 10, 0.1) == 0
    assert beta_cdf(0.3, 2, 5) == pytest.approx(0.579825, abs=1e-6)
    for k, n, p in ((3, 10, 0.2), (85, 100, 0.8), (990, 1000, 0.985)):
        from math import comb

        tail = sum(
            comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)
        )
        assert beta_cdf(p, k, n - k + 1) == pytest.approx(tail, rel=1e-9)


def test_rows_of_one_question_count_as_what_they_tell():
    alone = [(n % 4 > 0, n) for n in range(400)]
    assert design_effect(alone) == pytest.approx(1.0)
    copies = [(n % 4 > 0, n) for n in range(100) for _ in range(4)]
    assert design_effect(copies) == pytest.approx(4.0)
    assert design_effect([(True, n // 4) for n in range(400)]) == 4.0


def test_the_promise_holds_where_the_truth_is_known():
    """Scores are true probabilities; a threshold breaks its promise where the mean probability above it is below the target."""
    broken = kept = 0
    for case in range(300):
        rng = random.Random(case)
        chances = [rng.random() ** 0.5 for _ in range(300)]
        labels = [rng.random() < chance for chance in chances]
        try:
            least = calibrate(chances, labels, target_precision=0.85).least
        except NotEnoughEvidence:
            continue
        kept += 1
        every = [(n / 10_000) ** 0.5 for n in range(10_000)]
        broken += fmean(chance for chance in every if chance >= least) < 0.85
    assert kept > 150
    assert broken <= 0.1 * 300


def test_a_refusal_says_how_many_labels_are_missing():
    rng = random.Random(0)
    scores = [rng.random() for _ in range(60)]
    labels = [rng.random() < 0.95 for _ in scores]
    with pytest.raises(NotEnoughEvidence, match="label about") as caught:
        calibrate(scores, labels, target_precision=0.9)
    missing = caught.value.missing
    more = [rng.random() for _ in range(60 + 2 * missing)]
    assert (
        calibrate(
            more, [rng.random() < 0.95 for _ in more], target_precision=0.9
        ).kept
        >= 30
    )
    with pytest.raises(NotEnoughEvidence, match="will not help"):
        calibrate(scores, [False] * 60, target_precision=0.85)
    with pytest.raises(NotEnoughEvidence):
        calibrate([], [], target_precision=0.85)
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        calibrate(scores, labels, target_precision=85)


def made(count, seed=0):
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        for _ in range(3):
            said = n + 4 + (rng.random() < 0.3)
            rows.append(
                {
                    "question": f"What is {n} + 4 ?",
                    "rationale": f"{n} + 4 = {said}",
                    "answer": str(said),
                    "is_correct": said == n + 4,
                    "teacher": rng.choice("ab"),
                }
            )
    return rows


def test_a_model_is_saved_loaded_and_tells_right_from_wrong(tmp_path):
    model = fit(made(60), columns=("teacher",)).calibrated(
        made(150, seed=1), target_precision=0.9
    )
    model.save(tmp_path / "critic.json")
    assert Model.load(tmp_path / "critic.json").scores(
        made(5, 2)
    ) == pytest.approx(model.scores(made(5, 2)))
    kept, dropped = Trained(model=str(tmp_path / "critic.json")).split(
        made(20, seed=3)
    )
    assert sum(row["is_correct"] for row in kept) >= 0.8 * len(kept) > 20
    assert dropped
    assert {row["reason"] for row in dropped} == {"low_score"}
    assert len(features(made(2))[0]) == len(NAMES)


def test_what_cannot_serve_says_so(tmp_path):
    with pytest.raises(WrongUse, match="true or false"):
        fit([{"question": "q"}])
    with pytest.raises(WrongUse, match="all alike"):
        fit([{"question": "q", "is_correct": True}])
    with pytest.raises(WrongUse, match="save"):
        Trained(model=str(tmp_path / "none.json")).split(
            [{"question": "q", "answer": "1"}]
        )
    fit(made(20)).save(tmp_path / "raw.json")
    with pytest.raises(WrongUse, match="Calibrate it"):
        Trained(model=str(tmp_path / "raw.json")).split(
            [{"question": "q", "answer": "1"}]
        )


@pytest.mark.skipif(not DEV.is_file(), reason="real data is elsewhere")
@pytest.mark.parametrize(
    "splits",
    [pytest.param(splits, marks=pytest.mark.long) for splits in (3, 12)],
)
def test_the_promise_holds_on_real_rows_over_splits(splits):
    rows = []
    for row in read_rows(DEV):
        view = {
            name: row[name] for name in ("question", "teacher", "is_correct")
        }
        try:
            rows.append(
                {**view, **FinalNumber().parse(row["completion"], view)}
            )
        except Unreadable:
            rows.append(
                {**view, "answer": None, "rationale": row["completion"]}
            )
    questions = sorted({row["question"] for row in rows})
    broken = abstained = 0
    for split in range(splits):
        order = random.Random(split).sample(questions, len(questions))
        first, second = int(0.4 * len(order)), int(0.7 * len(order))
        parts = [
            set(order[:first]),
            set(order[first:second]),
            set(order[second:]),
        ]
        train, held, test = (
            [row for row in rows if row["question"] in part] for part in parts
        )
        try:
            model = fit(train, columns=("teacher",)).calibrated(
                held, target_precision=0.85
            )
        except NotEnoughEvidence as missing:
            abstained += 1
            assert missing.missing is None or missing.missing > 0
            continue
        kept = [
            row
            for row, score in zip(test, model.scores(test), strict=True)
            if score >= model.threshold["least"]
        ]
        broken += sum(row["is_correct"] for row in kept) < 0.85 * len(kept)
    assert broken <= max(1, splits // 6)
    assert abstained < splits


def test_vectors_of_the_rationale_can_count(tmp_path):
    rows = [
        {
            "question": f"q{n}",
            "rationale": "so it is" if n % 2 else "who knows",
            "answer": "1",
            "is_correct": bool(n % 2),
        }
        for n in range(80)
    ]
    model = fit(rows, embedding="hashing")
    assert auc_of(model, rows) == 1.0
    model.save(tmp_path / "critic.json")
    assert Model.load(tmp_path / "critic.json").scores(
        rows[:5]
    ) == pytest.approx(model.scores(rows[:5]))


def auc_of(model, rows):
    return auc(model.scores(rows), [row["is_correct"] for row in rows])
