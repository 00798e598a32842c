"""Files of training rows: whatever the rows hold comes back, and the file is whole or not there."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports.base import write_rows
from synth.inputs.seeds import read_rows

ENDINGS = ("x.jsonl", "x.parquet", "x.csv", "folder")
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12
)
ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["id", "prompt", "completion", "odd name"]),
        TEXT,
        min_size=1,
    ),
    min_size=1,
    max_size=5,
)
anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def file_of(path):
    return path / "train.parquet" if path.is_dir() else path


@anywhere
@given(rows=ROWS, name=st.sampled_from(ENDINGS[:2]))
def test_texts_come_back_as_they_were_written(rows, name, tmp_path):
    path = tmp_path / name
    assert write_rows(iter(rows), path) == len(rows)
    names = {column for row in rows for column in row}
    for row, again in zip(rows, read_rows(path), strict=True):
        for column in names:
            assert again.get(column) == row.get(column)


@pytest.mark.parametrize("name", ENDINGS)
def test_a_column_that_the_first_row_lacks_is_kept(name, tmp_path):
    path = tmp_path / name
    rows = [{"id": "a"}, {"id": "b", "group": "g"}, {"group": "h", "id": "c"}]
    write_rows(iter(rows), path)
    found = list(read_rows(file_of(path)))
    groups = [row.get("group") or None for row in found]
    assert groups == [None, "g", "h"]
    assert [row["id"] for row in found] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ENDINGS)
def test_no_rows_make_a_file_of_none(name, tmp_path):
    path = tmp_path / "new" / name
    assert write_rows(iter([]), path) == 0
    written = file_of(path)
    assert written.is_file()
    assert list(read_rows(written)) == []


@pytest.mark.parametrize("name", ENDINGS)
def test_rows_that_break_off_leave_what_stood_there(name, tmp_path):
    def broken():
        yield {"id": "new"}
        raise WrongUse("a row", "nothing", "something", "Mend it.")

    path = tmp_path / name
    write_rows(iter([{"id": "old"}]), path)
    with pytest.raises(WrongUse):
        write_rows(broken(), path)
    assert [row["id"] for row in read_rows(file_of(path))] == ["old"]
    assert not list(tmp_path.rglob(".potstill*"))


MIXED = [
    [1, "one", None, [1], {"a": 1}],
    [1, 0.5],
    [2**70, 1],
    [[1], ["a"], [None]],
    [{"a": 1}, {"a": "x"}],
    [True, 1, "yes"],
    ["half \ud83d", "whole"],
    [["\udc00"], ["c"]],
]


@pytest.mark.parametrize("values", MIXED, ids=repr)
def test_columns_of_several_kinds_are_texts_that_say_the_same(values, tmp_path):
    path = tmp_path / "x.parquet"
    write_rows(({"n": n, "v": value} for n, value in enumerate(values)), path)
    table = pq.read_table(path)
    assert table["n"].to_pylist() == list(range(len(values)))
    for value, stored in zip(values, table["v"].to_pylist(), strict=True):
        if isinstance(stored, str) and not isinstance(value, str):
            assert json.loads(stored) == value
        elif not isinstance(value, str | dict | list):
            assert stored == value
    jsonl = tmp_path / "x.jsonl"
    write_rows(({"v": value} for value in values), jsonl)
    lines = jsonl.read_bytes().splitlines()
    assert [json.loads(line)["v"] for line in lines] == values


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=SUM(A1)", "'=SUM(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        (-1, "-1"),
        (0.5, "0.5"),
        (True, "true"),
        (["a", 1], '["a",1]'),
        ({"b": 1, "a": "=x"}, '{"a":"=x","b":1}'),
        ("a\nb", "a\nb"),
        ('say "x", y', 'say "x", y'),
        ("", ""),
    ],
)
def test_a_cell_is_a_text_that_no_spreadsheet_runs(value, cell, tmp_path):
    path = tmp_path / "x.csv"
    write_rows(iter([{"v": value, "w": "end"}]), path)
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {"v": cell, "w": "end"}


@pytest.mark.parametrize(
    "export",
    [
        "conversation:absent=-1",
        "margins:most=0",
        "preference:per_seed=-1",
        "ranked:least=0",
        "triplets:negatives=-1",
        "triples:held_out=[0.9, 0.1]",
    ],
)
def test_counts_and_shares_that_make_no_sense_are_refused(export):
    name, _, said = export.partition(":")
    key, _, value = said.partition("=")
    given = {"name": name, key: json.loads(value)}
    with pytest.raises(WrongUse, match=rf"{key} .*(or more|leave some)"):
        registry.build("synth.exports", given)
