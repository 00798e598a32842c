"""Predictions that are there: measured, and two students of the same questions held side by side."""

from __future__ import annotations

import json

import pytest

from finetune.measuring.compare import compare, measures_of, read_predictions
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune


def rows(right):
    return [
        {
            "prompt": f"q{n}",
            "target": "5",
            "reply": "it is 5" if one else "it is 4",
            "answer": "5" if one else "4",
            "right": one,
        }
        for n, one in enumerate(right)
    ]


BETTER = [True] * 30 + [False] * 10
WORSE = [True] * 12 + [False] * 28


def test_a_better_student_is_found_better():
    found = compare(rows(WORSE), list(reversed(rows(BETTER))))
    assert (found.first, found.second) == (0.3, 0.75)
    assert found.low > 0.25
    assert found.high < 0.65
    assert found.p < 1e-4
    same = compare(rows(WORSE), rows(WORSE))
    assert (same.low, same.high, same.p) == (0, 0, 1)


def test_measures_are_compared_and_draws_have_no_p():
    found = compare(rows(WORSE), rows(BETTER), "token_f1")
    assert found.second > found.first
    assert found.p is None
    drawn = compare(rows(WORSE) * 2, rows(BETTER) * 2)
    assert drawn.questions == 40
    assert drawn.p is None


def test_other_questions_are_refused():
    with pytest.raises(WrongUse, match="1 questions that one"):
        compare(rows(WORSE), rows(WORSE)[:-1])


def test_what_is_missing_is_named(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"prompt": "a", "target": "b"}])
    with pytest.raises(WrongUse, match="row 1: found no 'reply'"):
        read_predictions(str(path))
    with pytest.raises(WrongUse, match="nope"):
        measures_of(["nope"], rows(WORSE))


def test_the_commands(tmp_path):
    for name, right in (("one", WORSE), ("two", BETTER)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "predictions.jsonl", rows(right))
    code, said = finetune("compare", tmp_path / "one", tmp_path / "two")
    assert code == 0
    assert "right: 0.300, then 0.750, on 40 questions" in said
    assert "p = 0.0" in said
    words = ["measure", tmp_path / "two", "--measure", "classes"]
    code, said = finetune(*words, "--measure", "pass_at:k=1", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["pass_at:k=1"]["value"] == 0.75
    assert found["classes"]["classes"]["5"]["recall"] == 0.75
    code, said = finetune(*words)
    assert "  5: precision 1.000, recall 0.750" in said
    code, said = finetune("measure", tmp_path / "two")
    assert code == 2
    assert "--measure" in said
