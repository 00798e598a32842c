"""Inputs of every kind, and what is said about broken ones."""

from __future__ import annotations

import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth.core.errors import WrongUse
from synth.inputs.seeds import Seeds

ROWS = [{"question": "a", "n": 1}, {"question": "b, c", "n": 2}]


def sources(tmp_path):
    (tmp_path / "x.jsonl").write_text(
        "\n".join(json.dumps(r) for r in ROWS) + "\n\n"
    )
    (tmp_path / "x.json").write_text(json.dumps(ROWS))
    (tmp_path / "x.csv").write_text('question,n\na,1\n"b, c",2\n')
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    return [
        tmp_path / f"x.{ending}"
        for ending in ("jsonl", "json", "csv", "parquet")
    ]


def test_all_kinds_bring_the_same_rows(tmp_path):
    for path in sources(tmp_path):
        assert [
            (s.fields["question"], int(s.fields["n"])) for s in Seeds(path)
        ] == [("a", 1), ("b, c", 2)]
    assert [s.fields for s in Seeds(ROWS)] == ROWS
    assert [s.fields for s in Seeds(ROWS, limit=1)] == ROWS[:1]


def test_standard_input_is_read_twice(monkeypatch):
    monkeypatch.setattr(
        sys,
        "stdin",
        io.TextIOWrapper(io.BytesIO(b'{"question": "a"}\n{"question": "b"}\n')),
    )
    seeds = Seeds("-")
    assert seeds.scan().rows == 2
    assert [s.fields["question"] for s in seeds] == ["a", "b"]


def test_ids_come_from_content_or_from_the_users_column():
    first, again = (list(Seeds(rows)) for rows in (ROWS, list(reversed(ROWS))))
    assert {s.id for s in first} == {s.id for s in again}
    assert [s.id for s in Seeds([{"id": 7, "question": "a"}])] == ["7"]
    assert [
        s.id for s in Seeds([{"key": "k", "question": "a"}], id_column="key")
    ] == ["k"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.jsonl", '{"question": "a"}\n{"question": \n', "x.jsonl:2"),
        ("x.jsonl", '"just text"\n', "x.jsonl:1"),
        ("x.jsonl", "", "no rows"),
        ("x.jsonl", "\n\n", "no rows"),
        ("x.json", '"a"', "a list of objects"),
        ("x.json", '[{"question": "a",]', "broken JSON"),
        ("x.csv", "question,n\na,1,9\n", "x.csv:2"),
        ("x.csv", "question,n\na\n", "x.csv:2"),
        ("x.txt", "a", "ending '.txt'"),
    ],
)
def test_broken_inputs_name_their_place(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(WrongUse, match=says):
        Seeds(path).scan()


def test_missing_inputs(tmp_path):
    with pytest.raises(WrongUse, match="no such file"):
        Seeds(tmp_path / "none.jsonl").scan()
    with pytest.raises(WrongUse, match="neither a file nor a dataset"):
        Seeds("no/such_dataset_here").scan()


def test_a_column_that_is_renamed_the_wrong_way_round_is_said(tmp_path):
    seeds = Seeds([{"Frage": "q"}], columns={"Frage": "question"})
    with pytest.raises(
        WrongUse, match="Turn it round: --column question=Frage"
    ):
        list(seeds.rows())
