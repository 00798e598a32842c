"""The small critic: scikit-learn's model, the same after a file, and clear about what cannot serve."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from synth.core.errors import WrongUse
from synth.critics.trained_model import Logistic, Model, fit

TEACHERS = ("small", "large")


def rows_of(count, seed=0):
    """Sums of which the large teacher gets more right."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        for teacher in TEACHERS:
            right = rng.random() < (0.9 if teacher == "large" else 0.5)
            said = n + 4 + (not right)
            rows.append(
                {
                    "question": f"What is {n} + 4 ?",
                    "rationale": f"{n} + 4 = {said}",
                    "answer": str(said),
                    "teacher": teacher,
                    "is_correct": right,
                }
            )
    return rows


@pytest.fixture(scope="module")
def model():
    return fit(rows_of(40), columns=["teacher"])


def test_a_table_is_fitted_as_scikit_learn_does():
    linear = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(1)
    table = rng.normal(size=(80, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, 0, -7, 2]
    table[:, 4] = 3.0  # a column that says nothing
    labels = (table[:, 1] > 5) ^ (rng.random(80) < 0.2)
    made = Logistic.fit(table, labels.astype(float), 2.0)
    scaled = preprocessing.StandardScaler().fit_transform(table)
    wanted = linear.LogisticRegression(C=1 / 2.0, tol=1e-10).fit(scaled, labels)
    found = made.chances(table)
    assert found == pytest.approx(wanted.predict_proba(scaled)[:, 1], abs=1e-4)
    assert np.isfinite(made.chances(table * 1e6)).all()


def test_a_model_comes_back_from_its_file(model, tmp_path):
    path = tmp_path / "critic.json"
    model.save(path)
    again = Model.load(str(path))
    assert again == model
    assert again.scores(rows_of(5)) == model.scores(rows_of(5))
    calibrated = model.calibrated(rows_of(90, seed=5), target_precision=0.6)
    assert calibrated.threshold["target"] == 0.6
    calibrated.save(path)
    assert Model.load(path).threshold == calibrated.threshold
    assert model.threshold is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda fields: fields.pop("features"), "KeyError: 'features'"),
        (lambda fields: fields.pop("rows"), "TypeError"),
        (lambda fields: fields.update(more=1), "more"),
        (lambda fields: fields["features"].reverse(), "over other features"),
        (lambda fields: fields["features"].pop(), "over other features"),
    ],
)
def test_a_file_of_another_version_is_named(model, tmp_path, change, says):
    path = tmp_path / "critic.json"
    model.save(path)
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(WrongUse) as error:
        Model.load(path)
    assert str(error.value).startswith(f"{path}: found ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}"]
)
def test_a_file_that_holds_no_model_is_named(tmp_path, content):
    path = tmp_path / "critic.json"
    path.write_bytes(content)
    with pytest.raises(WrongUse, match="wanted a model that `save` wrote"):
        Model.load(path)
    with pytest.raises(WrongUse, match="FileNotFoundError"):
        Model.load(tmp_path / "none.json")


def test_rows_without_a_question_are_draws_of_no_other():
    rows = [
        {name: value for name, value in row.items() if name != "question"}
        for row in rows_of(8)
    ]
    model = fit(rows)
    alone = [model.scores([row])[0] for row in rows]
    assert model.scores(rows) == pytest.approx(alone)
