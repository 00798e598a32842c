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


def measured(tmp_path, task, rows):
    code, said = finetune(
        "evaluate-encoder", tiny.encoder(task), "--task", task,
        "--input", write(tmp_path / "rows.jsonl", rows), "--output", tmp_path / "o",
    )  # fmt: skip
    path = tmp_path / "o" / "evaluation.json"
    return code, said, json.loads(path.read_text()) if code == 0 else {}


def test_words_that_are_not_read_are_counted_and_said(tmp_path):
    # 30 words beside [CLS] and [SEP] are read of 40; the other row is read whole.
    rows = [
        {"tokens": ["red"] * 40, "tags": ["warm"] * 40},
        {"tokens": ["red", "pen"], "tags": ["warm", None]},
    ]
    code, said, info = measured(tmp_path, "tokens", rows)
    assert code == 0, said
    assert (info["cut"], info["cut_rows"]) == (10, 1)
    assert "10 words of 1 rows were not read" in said
    text = {"text": "red " * 40, "label": "warm"}
    code, said, info = measured(tmp_path, "classify", [text])
    assert (info["cut"], info["cut_rows"]) == (10, 1)
    assert "10 tokens of 1 rows were not read" in said


def test_a_word_without_a_token_leaves_the_others_in_their_places(tmp_path):
    words = ["red", "pen", "dog", "house"]
    plain = [{"tokens": words, "tags": ["cold"] * 4}]
    assert measured(tmp_path, "tokens", plain)[0] == 0
    path = tmp_path / "o" / "predictions.jsonl"
    found = json.loads(path.read_text())["found"]
    tokens = ["red", " ", "pen", "", "dog", "house"]
    code, said, info = measured(
        tmp_path, "tokens", [{"tokens": tokens, "tags": ["cold"] * 6}]
    )
    assert (code, info["cut"]) == (0, 2), said
    holed = json.loads(path.read_text())["found"]
    assert [holed[n] for n in (1, 3)] == ["O", "O"]
    assert [holed[n] for n in (0, 2, 4, 5)] == found


def test_labels_that_the_model_does_not_have_are_counted_or_refused(tmp_path):
    rows = [{"tokens": ["red", "pen"], "tags": ["warm", "B-X"]}]
    code, said, info = measured(tmp_path, "tokens", rows)
    assert code == 0, said
    assert info["strange"] == {"B-X": 1}
    assert "1 labels that MODEL does not have: B-X" in said
    rows = [{"text": "red pen", "label": "tepid"}]
    code, said, _ = measured(tmp_path, "classify", rows)
    assert (code, "labels tepid" in said) == (2, True), said


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("tokens", {"tokens": [1, 2], "tags": ["cold", "cold"]}, "tokens"),
        ("tokens", {"tokens": [None], "tags": ["cold"]}, "tokens"),
        ("tokens", {"tokens": [], "tags": []}, "tokens"),
        ("tokens", {"tokens": ["red", "pen"], "tags": "OO"}, "tags"),
        ("classify", {"text": "", "label": "cold"}, "text"),
        ("classify", {"text": "red", "label": 1.5}, "label"),
        ("classify", {"text": "red", "label": ["cold"]}, "label"),
        ("classify", {"text": "red", "text_pair": 3, "label": "cold"}, "pair"),
    ],
)
def test_cells_of_another_kind_are_refused(tmp_path, task, row, says):
    code, said, _ = measured(tmp_path, task, [row])
    assert (code, "row 1" in said, says in said) == (2, True, True), said


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
