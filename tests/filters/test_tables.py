"""Tables leave a filter as they came: types, index and columns; what no table is, is said."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from synth.core.errors import WrongUse
from synth.filters import ExactDuplicate, Length

TEXTS = ["a b c", "a", "b c"]
DAY = dt.datetime(2024, 1, 2, 3)
SHORT = Length(field="text", least=2)


def test_a_frame_keeps_its_index_and_its_types():
    frame = pd.DataFrame(
        {
            "text": TEXTS,
            "day": [DAY] * 3,
            "kind": pd.Categorical(["x", "y", "x"]),
            "count": pd.array([1, None, 3], dtype="Int64"),
        },
        index=[10, 11, 12],
    )
    kept, dropped = SHORT.split(frame)
    pd.testing.assert_frame_equal(kept[[*frame.columns]], frame.loc[kept.index])
    assert list(kept.index) == [10, 12]
    assert list(dropped["reason"]) == ["too_short"]
    assert list(frame.columns) == ["text", "day", "kind", "count"]


def test_a_dataset_keeps_its_features():
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    held = {"text": TEXTS, "label": [0, 1, 1]}
    table = datasets.Dataset.from_dict(held, features=features)
    for given in (table, table.to_iterable_dataset()):
        for part in SHORT.split(given):
            assert part.features["label"] == features["label"]
        assert SHORT.split(given)[0]["label"] == [0, 1]


def test_arrow_and_polars_keep_their_types():
    table = pa.table({"text": TEXTS, "n": pa.array([1, 2, 3], pa.int8())})
    kept, _ = SHORT.split(table)
    assert kept.schema.field("n").type == pa.int8()
    frame = pl.from_arrow(table)
    for given in (frame, frame.lazy()):
        kept, dropped = SHORT.split(given)
        assert kept["n"].to_list() == [1, 3]
        assert kept.schema["n"] == pl.Int8
        assert dropped.columns == ["text", "n", "reason", "marks"]


MAKERS = [
    pd.DataFrame,
    pl.DataFrame,
    pa.Table.from_pylist,
    datasets.Dataset.from_list,
]


def listed(table):
    if isinstance(table, pd.DataFrame):
        return table.to_dict(orient="records")
    if isinstance(table, pl.DataFrame):
        return table.to_dicts()
    return table.to_pylist() if isinstance(table, pa.Table) else list(table)


@pytest.mark.parametrize("make", MAKERS)
def test_one_filter_reads_what_another_left(make):
    first = ExactDuplicate(field="text")
    kept, dropped = SHORT.split(
        first.split(make([{"text": t} for t in TEXTS]))[0]
    )
    marks = json.loads(listed(kept)[0]["marks"])
    assert set(marks) == {"exact_duplicate", "length"}
    assert [row["reason"] for row in listed(dropped)] == ["too_short"]
    again, none = SHORT.split(kept)
    assert len(listed(again)) == 2
    assert listed(none) == []
    # A table without a row has the columns of one with rows.
    names = getattr(none, "column_names", None) or none.columns
    assert {*names} == {"text", "reason", "marks"}


def test_marks_that_no_filter_wrote_are_not_overwritten():
    frame = pd.DataFrame({"text": TEXTS, "marks": [5, 6, 7]})
    with pytest.raises(WrongUse, match=r"row 1: found marks = '5'.*Rename"):
        SHORT.split(frame)


@pytest.mark.parametrize("given", ["rows.jsonl", Path("rows.jsonl")])
def test_a_path_is_no_rows(given):
    with pytest.raises(TypeError, match=r"rows\.jsonl.*synth filter --input"):
        SHORT.split(given)


def test_what_is_no_row_is_named():
    with pytest.raises(TypeError, match="row 2 is '5'"):
        SHORT.split([{"text": "a"}, 5])
