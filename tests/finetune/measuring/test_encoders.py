"""Encoders are measured by hand-counted tags and classes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.tags import entities, mark_entities
from finetune.measuring.encoders import entity_scores
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=12)


@given(TAGS)
def test_entities_cover_every_word_that_is_marked(tags):
    found = sorted(entities(tags))
    covered = [n for one in found for n in range(one.first, one.behind)]
    assert covered == [n for n, tag in enumerate(tags) if tag != "O"]
    for one in found:
        assert {tags[n][2:] for n in range(one.first, one.behind)} == {one.kind}
        assert all(
            tags[n].startswith("I") for n in range(one.first + 1, one.behind)
        )


@given(TAGS)
def test_what_is_all_right_scores_one(tags):
    found = entity_scores([tags], [tags])
    assert found["f1"] == found["macro_f1"] == (1.0 if entities(tags) else 0.0)


def test_entities_of_two_kinds_by_hand():
    gold = [["B-A", "I-A", "O", "B-B"], ["B-A", "O", "O", "O"]]
    said = [["B-A", "O", "O", "B-B"], ["B-A", "O", "B-B", "O"]]
    found = entity_scores(gold, said)
    # Of A one of two is right and two are said; of B the one, and two are said.
    assert found["kinds"]["A"]["f1"] == 0.5
    assert found["kinds"]["B"]["precision"] == 0.5
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2, abs=1e-4)
    assert found["f1"] == pytest.approx(4 / 7, abs=1e-4)


def test_tags_that_mark_no_entities():
    assert mark_entities(["B-A", "O"])
    assert not mark_entities(["NOUN", "O"])
    assert not mark_entities(["O"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--task", "classify", "--head", "a"], "and no --head"),
        ([], "Name the task"),
        (["--task", "classify"], "no labels"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, words, says):
    rows = write(tmp_path / "rows.jsonl", [{"text": "red pen"}])
    code, said = finetune(
        "evaluate-encoder", tiny.encoder("classify"), "--input", rows,
        "--output", tmp_path / "o", *words,
    )  # fmt: skip
    assert (code, says in said) == (2, True), said


def test_numbers_of_classes_are_names(tmp_path):
    rows = [{"text": "red pen", "label": n % 3} for n in range(3)]
    code, said = finetune(
        "evaluate-encoder", tiny.encoder("classify"), "--task", "classify",
        "--input", write(tmp_path / "rows.jsonl", rows), "--output", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, said
    info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert set(info["classes"]) == {"cold", "warm", "hot"}
    assert info["accuracy"]["share"] == pytest.approx(1 / 3, abs=1e-3)
