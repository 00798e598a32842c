"""Columns of files as trainers read them: weights, taints, odd cells, CSV and Parquet, each
refused with its row.
"""

from __future__ import annotations

import csv
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import rows
from finetune.data.row_numbers import LARGEST
from synth.core.errors import WrongUse
from tests.conftest import write

PAIR = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize(
    ("metas", "names"),
    [
        (["written by hand", "x"], []),
        ([{"taint": "gsm8k"}, {"taint": None}], ["gsm8k"]),
        ([{"taint": ["b", "a"]}, {"taint": ["a"]}, None], ["a", "b"]),
        ([{"taint": []}, {"taint": []}], []),
        ([{"other": 1}, {"other": 2}], []),
        ([3, 4], []),
        ([["gsm8k"], []], []),
    ],
)
def test_taints_are_read_where_rows_have_them_and_any_other_meta_has_none(
    tmp_path, metas, names
):
    path = write(tmp_path / "x.jsonl", [{**PAIR, "meta": m} for m in metas])
    assert rows.taint(path) == names


def test_rows_without_meta_have_no_taint(tmp_path):
    assert rows.taint(write(tmp_path / "x.jsonl", [PAIR])) == []


@pytest.mark.parametrize(
    "weight", [float("nan"), float("inf"), -math.inf, None, True, "1", [1]]
)
def test_a_weight_that_is_no_finite_number_is_refused_with_its_row(weight):
    with pytest.raises(WrongUse) as caught:
        rows.numbers([1, 0.5, weight, 2], "weight", "f.jsonl")
    assert caught.value.args[:2] == (
        "--input f.jsonl row 3",
        f"weight = {weight!r}",
    )


@given(
    st.lists(
        st.one_of(
            st.integers(-int(LARGEST), int(LARGEST)),
            st.floats(-LARGEST, LARGEST),
        ),
        max_size=9,
    )
)
def test_numbers_are_kept_as_they_are(values):
    found = rows.numbers(values, "weight", "f")
    assert found == values
    assert all(type(value) is float for value in found)


def test_weights_tasks_and_ids_stand_row_by_row(tmp_path):
    made = [
        {**PAIR, "weight": -1, "task": "label", "id": 7},
        {**PAIR, "weight": 2, "task": None, "id": 8},
    ]
    assert rows.weighting(write(tmp_path / "a.jsonl", made)) == {
        "weights": [-1.0, 2.0],
        "tasks": ["label", ""],
        "ids": ["7", "8"],
    }
    only_tasks = [{**PAIR, "task": "b"}, {**PAIR, "task": "a"}]
    assert rows.weighting(write(tmp_path / "b.jsonl", only_tasks)) == {
        "weights": [1.0, 1.0],
        "tasks": ["b", "a"],
        "ids": ["0", "1"],
    }
    assert rows.weighting(write(tmp_path / "c.jsonl", [PAIR])) is None


def test_a_weight_of_infinity_in_a_parquet_file_is_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "prompt": ["a", "b"],
            "completion": ["c", "d"],
            "weight": [1.0, math.inf],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(WrongUse, match=r"x\.parquet row 2.*weight = inf"):
        rows.weighting(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"a": 1}', "{oops"], "x.jsonl:2: found broken JSON"),
        (['{"a": 1}', "", '{"a": [1]}'], "x.jsonl:3, a list"),
        (["[" * 100_000], "x.jsonl:1: found broken JSON"),
        (['{"a": "b"}', '{"a": "\\ud800"}'], "x.jsonl:2: found broken JSON"),
    ],
)
def test_the_first_odd_cell_of_a_file_is_named(tmp_path, lines, says):
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(WrongUse) as caught:
        rows.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_whole_numbers_and_fractions_fit_together(tmp_path):
    path = write(tmp_path / "x.jsonl", [{"a": 1}, {"a": 2.5}, {"a": None}])
    assert list(rows.load(path)["a"]) == [1.0, 2.5, None]


def test_a_spreadsheet_of_conversations_is_read_as_a_file_of_them(tmp_path):
    talk = [
        {"role": "user", "content": 'a, "b"\r\nc'},
        {"role": "assistant", "content": "d\u00e9"},
    ]
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["messages", "n"])
        writer.writeheader()
        writer.writerow({"messages": json.dumps(talk), "n": 1})
    found = rows.sft_rows(tmp_path / "x.csv")
    assert list(found) == [{"messages": talk}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.jsonl", ""),
        ("x.jsonl", "\n \r\n"),
        ("x.json", ""),
        ("x.json", "[]"),
        ("x.csv", ""),
        ("x.csv", "prompt,completion\n"),
        ("x.parquet", ""),
    ],
)
def test_an_empty_file_has_no_rows_and_says_so(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(WrongUse) as caught:
        rows.load(tmp_path / name)
    assert caught.value.args[:2] == (str(tmp_path / name), "no rows")


def test_columns_that_are_missing_are_named_beside_those_that_are_there(
    tmp_path,
):
    path = write(tmp_path / "x.jsonl", [{"prompt": "a", "answer": "b"}])
    with pytest.raises(WrongUse) as caught:
        rows.with_columns(path, ("prompt", "completion"))
    assert "columns prompt, answer" in str(caught.value)
    assert "columns prompt, completion" in str(caught.value)
    kept = rows.columns(
        rows.load(path), ("answer",), path, also=("x", "prompt")
    )
    assert kept.column_names == ["answer", "prompt"]


def test_all_texts_of_rows_are_there_for_a_tokenizer(tmp_path):
    talk = [{"role": "user", "content": "u"}, {"role": "x", "content": None}]
    found = rows.texts([{"prompt": "p", "n": 3, "messages": talk}])
    assert found == ["p", "u\n\n\n"]


def test_words_for_labels_reach_the_trainer_as_truth_values(tmp_path):
    made = [
        {**PAIR, "label": word} for word in ("yes", "no", "Correct", "WRONG")
    ]
    found = rows.labelled_rows(write(tmp_path / "x.jsonl", made))
    assert list(found["label"]) == [True, False, True, False]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (("chosen", "rejected"), "--to preference"),
        (("context", "prompt", "completion"), "--to faded"),
        (("prompt", "completion"), "--to sft"),
        (("question", "is_correct"), "Name your columns so"),
    ],
)
def test_missing_columns_name_the_export_that_writes_them(
    tmp_path, wanted, says
):
    path = write(tmp_path / "x.jsonl", [{"a": "b"}])
    with pytest.raises(WrongUse, match=says):
        rows.with_columns(path, wanted)
