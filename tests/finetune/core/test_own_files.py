"""What a measurement did not write is not written over: by any command, before a model opens."""

from __future__ import annotations

import json
import os

import pytest

from finetune.core.own_files import (
    MEASURED,
    PREDICTIONS,
    check_folder,
    check_rows,
    write_evaluation,
)
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune

KEYS = ("model", "rows")
RECORD = {"model": "M", "rows": 3, "accuracy": 0.5}
# Words of each command that measures, with a model that is nowhere: it must not be reached.
MEASURING = {
    "evaluate": ("--data", "rows.jsonl", "--model", "nobody/none"),
    "evaluate-retriever": ("--data", "lists.jsonl", "--model", "nobody/none"),
    "evaluate-embeddings": ("nobody/none", "--bitext", "pairs.jsonl"),
    "evaluate-encoder": (
        "nobody/none",
        "--data",
        "rows.jsonl",
        "--task",
        "classify",
    ),
    "evaluate-ctc": ("nobody/none", "--data", "rows.jsonl"),
    "evaluate-mask-predict": ("nobody/none", "--data", "rows.jsonl"),
    "evaluate-demonstrations": ("nobody/none", "--data", "rows.jsonl"),
    "evaluate-outliers": (
        *("nobody/none", "--inside", "rows.jsonl", "--outside", "rows.jsonl"),
    ),
    "senses": ("--senses", "rows.jsonl", "--model", "nobody/none"),
    "item-codes": (
        *("--data", "rows.jsonl", "--items", "rows.jsonl"),
        *("--model", "nobody/none"),
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rows", "lists", "pairs"):
        write(tmp_path / f"{name}.jsonl", [{"prompt": "a", "target": "b"}])
    return tmp_path


@pytest.mark.parametrize("command", MEASURING)
def test_a_record_of_others_stays(here, command):
    out = here / "out"
    out.mkdir()
    (out / MEASURED).write_text('{"mine": 1}')
    code, said = finetune(command, *MEASURING[command], "--output", out)
    assert code == 2, said
    assert "which no such measurement wrote" in said
    assert (out / MEASURED).read_text() == '{"mine": 1}'
    code, said = finetune(
        command, *MEASURING[command], "--output", here / "rows.jsonl"
    )
    assert code == 2, said
    assert "found a file" in said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("predictions.jsonl", "mine"),
        (MEASURED, "no JSON"),
        (MEASURED, "[1]"),
        (MEASURED, json.dumps({"model": "M"})),
        (MEASURED, "[" * 100_000),
    ],
)
def test_files_of_others_are_told_by_what_they_hold(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(WrongUse, match=name):
        check_folder(tmp_path, ("predictions.jsonl",), KEYS)


def test_an_earlier_measurement_is_written_over(tmp_path):
    check_folder(tmp_path / "new", ("predictions.jsonl",), KEYS)
    (tmp_path / "notes.txt").write_text("not written here")
    check_folder(tmp_path, ("predictions.jsonl",), KEYS)
    (tmp_path / MEASURED).write_text(json.dumps(RECORD, indent=2))
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    check_folder(tmp_path, ("predictions.jsonl",), KEYS)


def test_rows_are_written_over_where_they_are_such_rows(tmp_path):
    path = tmp_path / "scored.jsonl"
    check_rows(path, KEYS)
    path.write_text("")
    check_rows(path, KEYS)
    path.write_text(json.dumps(RECORD) + "\nanything\n")
    check_rows(path, KEYS)
    path.write_text('{"query": "mine"}\n')
    with pytest.raises(WrongUse, match="did not write"):
        check_rows(path, KEYS)
    with pytest.raises(WrongUse, match="a folder"):
        check_rows(tmp_path, KEYS)


def test_lists_that_somebody_wrote_stay(here):
    write(here / "lists.jsonl", [{"query": "a", "documents": ["b", "c"]}])
    mine = here / "mine.jsonl"
    mine.write_text('{"query": "mine"}\n')
    words = ("--data", here / "lists.jsonl", "--model", "bm25", "--kind", "bi")
    code, said = finetune("score-lists", *words, "--output", mine)
    assert code == 2, said
    assert mine.read_text() == '{"query": "mine"}\n'
    for _ in range(2):
        code, said = finetune(
            "score-lists", *words, "--output", here / "scored.jsonl"
        )
        assert code == 0, said


def test_a_search_is_measured_again_into_its_folder(here):
    write(here / "lists.jsonl", [{"query": "a", "documents": ["a b", "c"]}])
    words = ("--data", here / "lists.jsonl", "--model", "bm25")
    for _ in range(2):
        code, said = finetune(
            "evaluate-retriever", *words, "--output", here / "out"
        )
        assert code == 0, said


def test_no_predictions_stand_alone_where_the_record_has_no_room(tmp_path):
    blocked = tmp_path / f".{MEASURED}.{os.getpid()}"
    blocked.mkdir()
    with pytest.raises(OSError, match=MEASURED):
        write_evaluation(tmp_path, RECORD, [{"said": "a"}])
    assert not (tmp_path / PREDICTIONS).exists()
    # The same command can be given again.
    check_folder(tmp_path, (PREDICTIONS,), KEYS)
    blocked.rmdir()
    write_evaluation(tmp_path, RECORD, [{"said": "a"}])
    assert sorted(path.name for path in tmp_path.iterdir()) == [MEASURED, PREDICTIONS]  # fmt: skip
