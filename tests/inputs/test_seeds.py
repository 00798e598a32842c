"""Inputs of every kind, and what is said about broken ones."""

from __future__ import annotations

import csv
import io
import json
import sys

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.filters.length import Length
from synth.inputs import seeds as seeds_module
from synth.inputs.seeds import Seeds, read_rows, write_jsonl
from tests.conftest import SHARED

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


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_text_that_breaks_off_within_a_sign_is_named_with_its_line(
    tmp_path, name, encoding
):
    lines = 'ab\t"a"\n"1"\n' if name != "x.jsonl" else '{"a": 1}\n{"a": 2}\n'
    if name == "x.json":
        lines = '[{"a": 1},\n{"a": 2}]\n'
    path = tmp_path / name
    path.write_bytes(lines.encode(encoding)[:-1])
    with pytest.raises(WrongUse) as error:
        list(Seeds(path).rows())
    said = str(error.value)
    assert said.startswith(
        f"{path}, after line 1: found bytes that are no utf-"
    )
    assert "wanted UTF-8, UTF-16 or UTF-32" in said


def test_half_a_surrogate_pair_in_utf_16_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = '{"a": "x"}\n'.encode("utf-16-le")
    path.write_bytes(lines + lines.replace(b"x\x00", b"\x00\xd8"))
    with pytest.raises(
        WrongUse, match=r"after line \d+: found bytes that are no"
    ):
        Seeds(path).scan()


@pytest.mark.parametrize("blanks", [0, 1, 3])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_before_a_header_count_and_say_nothing(
    tmp_path, blanks, end
):
    path = tmp_path / "x.csv"
    lines = [""] * blanks + ["a,b", "1,2", "", "3"]
    path.write_bytes(end.join(lines).encode())
    found = Seeds(path).rows()
    assert next(found) == (f"{path}:{blanks + 2}", {"a": "1", "b": "2"})
    with pytest.raises(WrongUse) as error:
        next(found)
    place = f"{path}:{blanks + 4}"
    assert str(error.value).startswith(
        f"{place}: found 1 cells; wanted 2 cells"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("name", ["a", "a,b", "a;b", "a|b", 'say "a", b'])
def test_the_sign_between_cells_is_found_outside_of_quotes(
    tmp_path, delimiter, name
):
    path = tmp_path / "x.csv"
    row = {name: "1", "c": 'x, "y"; z'}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, list(row), delimiter=delimiter, quoting=csv.QUOTE_ALL
        )
        writer.writeheader()
        writer.writerow(row)
    assert [fields for _, fields in Seeds(path).rows()] == [row]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.text('ab ,;"\n\r\té', max_size=5), min_size=2, max_size=2),
        max_size=4,
    )
)
def test_cells_are_those_that_pythons_own_writer_wrote(tmp_path, cells):
    for name, delimiter in (("x.csv", ","), ("x.tsv", "\t")):
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([["first", "second"], *cells])
        found = [list(row.values()) for _, row in Seeds(path).rows()]
        assert found == cells


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "datasets"])
def test_a_table_that_loses_all_rows_keeps_its_columns(kind):
    columns = {"question": ["a b c", "d e f"], "n": [1, 2]}
    made = {
        "pandas": lambda: pd.DataFrame(columns),
        "polars": lambda: pl.DataFrame(columns),
        "pyarrow": lambda: pa.table(columns),
        "datasets": lambda: datasets.Dataset.from_dict(columns),
    }[kind]()
    kept, dropped = Length(field="question", least=9).split(made)
    assert type(kept) is type(made)
    names = (
        kept.column_names if kind in {"pyarrow", "datasets"} else kept.columns
    )
    assert list(names) == ["question", "n", "marks"]
    assert (len(kept), len(dropped)) == (0, 2)
    assert len(Length(field="question").split(kept)[0]) == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data is elsewhere")
@pytest.mark.parametrize(
    "name",
    ["wnut17/dev", "verify_cot/dev", "pandalm/dev", "sat_analogies/replies"],
)
def test_published_files_are_read_as_pythons_own_reader_reads_them(name):
    path = SHARED / f"{name}.jsonl"
    with path.open(encoding="utf-8") as file:
        for _, line, row in zip(
            range(300), file, read_rows(path), strict=False
        ):
            assert row == json.loads(line)


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("end", [-16, 9, 1 << 30])
def test_a_column_whose_texts_lie_outside_of_the_file_is_named(
    tmp_path, opened, end
):
    table = pa.table({"question": ["abcd", "efgh"]})
    path = tmp_path / "x.arrow"
    with opened(str(path), table.schema) as sink:
        sink.write_table(table)
    # Where the texts begin and end: 0, 4 and 8.
    ends = np.array([0, 4, 8], np.int32)
    broken = np.array([0, end, 8], np.int32)
    content = path.read_bytes()
    assert content.count(ends.tobytes()) == 1
    path.write_bytes(content.replace(ends.tobytes(), broken.tobytes()))
    with pytest.raises(WrongUse) as error:
        Seeds(path).scan()
    said = str(error.value)
    assert said.startswith(f"{path} row 1: found ArrowInvalid: ")
    assert "wanted an Arrow file. Write the file again." in said


def test_a_small_file_is_read_once_and_gives_the_same_rows_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, ({"id": str(n), "text": f"t {n}"} for n in range(5)))
    seeds = Seeds(str(file))
    assert seeds.scan().rows == 5
    first = list(seeds)
    file.write_text("{}\n")
    again = list(seeds)
    assert [seed.id for seed in again] == [seed.id for seed in first]
    assert [seed.fields for seed in again] == [
        {"text": f"t {n}"} for n in range(5)
    ]
    # What is cut short is read anew.
    other = Seeds(str(file))
    assert next(iter(other)).fields == {}
    file.write_text('{"text": "new"}\n')
    assert next(iter(other)).fields == {"text": "new"}


def test_a_large_or_packed_file_is_read_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(seeds_module, "KEPT_BYTES", 10)
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a long line"}\n')
    seeds = Seeds(str(file))
    assert [seed.fields for seed in seeds] == [{"text": "a long line"}]
    file.write_text('{"text": "b"}\n')
    assert [seed.fields for seed in seeds] == [{"text": "b"}]
