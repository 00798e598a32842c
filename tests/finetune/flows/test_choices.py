"""Texts between which a student chooses, and rows that have none."""

from __future__ import annotations

import pytest

from finetune.flows.choices import choices_of
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.recipes.test_retriever import finetune

TEMPLATE = "{{ row.labels }}"


def test_texts_and_numbers_are_choices():
    rows = [{"labels": ["a", "b"]}, {"labels": [1, 2.5]}, {"labels": ["a"]}]
    found = choices_of(rows, TEMPLATE, {}, "look")
    assert found == [["a", "b"], ["1", "2.5"], ["a"]]


@pytest.mark.parametrize(
    "labels",
    [
        None,
        "a, b",
        [],
        ["a", None],
        ["a", " "],
        ["a", True],
        ["a", ["b"]],
        ["a", "a"],
        ["1", 1],
        {"a": 1},
    ],
)
def test_what_is_no_list_of_texts_is_named_by_its_row(labels):
    rows = [{"labels": ["a", "b"]}, {"labels": labels}]
    with pytest.raises(WrongUse, match=r"look, row 2: found .*each once"):
        choices_of(rows, TEMPLATE, {}, "look")


def test_a_row_without_the_column_is_named():
    with pytest.raises(WrongUse, match=r"look, row 1: found .*'labels'"):
        choices_of([{"query": "a"}], TEMPLATE, {}, "look")


@pytest.mark.parametrize("name", ["few", "many"])
@pytest.mark.parametrize("labels", [{}, {"labels": "a, b"}, {"labels": []}])
def test_a_flow_names_such_a_row_before_anything_is_asked(
    tmp_path, name, labels
):
    good = {"query": "a", "labels": ["a", "b"], "text": "a", "target": "a"}
    rows = write(tmp_path / "good.jsonl", [good])
    bad = write(tmp_path / "bad.jsonl", [good, {"query": "b", **labels}])
    names = ("documents", "few", "many", "held_out")
    files = {**dict.fromkeys(names, rows), name: bad}
    code, said = finetune(
        *("flow", "run", "query_labels", "--input", rows),
        *("--student", "scratch:tiny", "--model", "large=scratch:tiny"),
        *("--teacher", "openai/m", "--output", tmp_path / "out"),
        # Nobody listens there.
        *("--api-base", "http://127.0.0.1:9/v1"),
        *(f"--rows={one}={file}" for one, file in files.items()),
    )
    assert code == 2, said
    if labels:
        assert f"--rows {name}={bad}, choices of" in said
        assert "row 2: found" in said
    else:
        assert f"--rows {name}={bad}: found row 2 with query" in said
        assert "wanted labels, which the stage" in said
    assert not (tmp_path / "out").exists()
