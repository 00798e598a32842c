"""Heads of encoders: none speaks at random, and tokenizers that cannot pad get a way to."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers import AutoTokenizer

from finetune.data.encoder_rows import class_number
from finetune.students.heads import open_head
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

NAMES = {0: "no", 1: "yes"}


@pytest.mark.parametrize(
    ("saved", "task"),
    [
        ("mlm", "classify"),
        ("mlm", "tokens"),
        ("tokens", "classify"),
        ("classify", "tokens"),
        ("classify", "mlm"),
    ],
)
def test_a_head_that_no_file_has_is_refused(saved, task):
    with pytest.raises(WrongUse, match="a model with a head for"):
        open_head(tiny.encoder(saved), task)


@pytest.mark.parametrize("task", ["mlm", "classify", "tokens"])
def test_a_head_that_was_saved_is_opened(task):
    open_head(tiny.encoder(task), task)


def test_a_head_of_other_classes_begins_anew():
    model, _ = open_head(tiny.encoder("classify"), "classify", classes=NAMES)
    assert model.classifier.weight.shape[0] == len(NAMES)


def test_a_tokenizer_without_padding_pads(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny.encoder("classify"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    rows = [
        {"text": "red pen", "label": "hot"},
        {"text": "red", "label": "hot"},
    ]
    code, said = finetune(
        "evaluate-encoder", folder, "--task", "classify", "--output", tmp_path / "o",
        "--input", write(tmp_path / "rows.jsonl", rows),
    )  # fmt: skip
    assert code == 0, said


def test_stars_are_names_of_classes():
    numbers = {"1": 0, "2": 1, "3": 2}
    assert [class_number(n, numbers, "label") for n in (1, 2, 3)] == [0, 1, 2]
    with pytest.raises(WrongUse):
        class_number(True, {"no": 0, "yes": 1}, "label")


def test_stars_are_measured_as_they_were_learnt(tmp_path):
    rows = [{"text": "red pen", "label": 1}, {"text": "old house", "label": 2}]
    file = write(tmp_path / "rows.jsonl", rows)
    code, said = finetune(
        "heads", "--model", tiny.encoder("mlm"), "--output", tmp_path / "m",
        "--head", f"stars:task=classify,rows={file}", "--max-steps", 1,
    )  # fmt: skip
    assert code == 0, said
    code, said = finetune(
        "evaluate-encoder", tmp_path / "m", "--task", "classify", "--input", file,
        "--output", tmp_path / "o",
    )  # fmt: skip
    assert code == 0, said
    info = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    supports = {name: one["support"] for name, one in info["classes"].items()}
    assert supports == {"1": 1, "2": 1}


def test_tags_that_do_not_fit_are_refused(tmp_path):
    rows = [{"tokens": ["red", "pen"], "tags": ["hot"]}]
    code, said = finetune(
        "evaluate-encoder", tiny.encoder("tokens"), "--task", "tokens",
        "--input", write(tmp_path / "rows.jsonl", rows), "--output", tmp_path / "o",
    )  # fmt: skip
    assert (code, "1 tags of 2 words" in said) == (2, True), said


def test_an_empty_question_takes_no_demonstrations(tmp_path):
    rows = [{"prompt": "", "completion": str(n)} for n in range(3)]
    code, said = finetune(
        "demonstrations", "--model", tiny.causal(), "--shots", 1,
        "--input", write(tmp_path / "rows.jsonl", rows), "--output", tmp_path / "o",
    )  # fmt: skip
    assert (code, "row 1 prompt: found ''" in said) == (2, True), said
