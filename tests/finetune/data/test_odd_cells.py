"""The row that a refusal names is the one that differs from the others."""

from __future__ import annotations

import json

import pytest

from finetune.data import encoder_rows, rows
from finetune.data.odd_cells import first_misfit, told
from synth.core.errors import WrongUse
from tests.conftest import write


def table(path, name, cells):
    """A file with one column, by its ending."""
    if path.suffix == ".csv":
        shown = ["" if cell is None else str(cell) for cell in cells]
        lines = [f"text,{name}", *(f"a,{cell}" for cell in shown)]
        path.write_text("\n".join(lines) + "\n")
        return path
    made = [{"text": "a", name: cell} for cell in cells]
    if path.suffix == ".json":
        path.write_text(json.dumps(made))
        return path
    return write(path, made)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
@pytest.mark.parametrize(
    ("cells", "row"),
    [
        ([1.5, 2.5, "x"], 3),
        (["x", 1, 2], 1),
        ([1, 2, "much", 3], 3),
        ([True, 1, 2], 1),
        ([1, 2, True], 3),
    ],
)
def test_a_number_that_is_none_is_named(tmp_path, ending, cells, row):
    file = table(tmp_path / f"x.{ending}", "weight", cells)
    with pytest.raises(WrongUse, match=rf"x\.{ending} row {row}: "):
        rows.weighting(file)


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_texts_beside_a_number_stay_the_texts_of_the_file(tmp_path, ending):
    cells = ["12", "true", "null", "b", 3, [1], None]
    file = table(tmp_path / f"x.{ending}", "text2", cells)
    found = rows.load(file)
    assert list(found["text2"]) == cells
    assert found.column_names == ["text", "text2"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_classes_beside_an_empty_cell_are_whole_numbers(tmp_path, ending):
    file = table(tmp_path / f"x.{ending}", "label", [0, 1, None, 1])
    found = encoder_rows.read(str(file), "classify")
    assert list(found["label"]) == [0, 1, None, 1]
    assert encoder_rows.classes_in(found, "classify", "f") == {0: "0", 1: "1"}


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_a_fraction_among_classes_is_named(tmp_path, ending):
    file = table(tmp_path / f"x.{ending}", "label", [0, 1, 0.5, 1])
    with pytest.raises(WrongUse, match=r"row 3 label: found 0\.5"):
        encoder_rows.read(str(file), "classify")


def test_a_number_that_no_table_holds_is_named(tmp_path):
    file = table(tmp_path / "x.json", "weight", [1, 10**30, 2])
    with pytest.raises(WrongUse, match="row 2, a whole number beyond 64 bits"):
        rows.load(file)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            [[1], "a", "b"],
            "c = [1] in row 1, a list, and a text in 2 rows (first: row 2)",
        ),
        (
            ["a", "b", {}],
            "c = {} in row 3, a mapping, and a text in 2 rows (first: row 1)",
        ),
        (
            ["a", [1]],
            "c = [1] in row 2, a list, and a text in 1 row (first: row 1)",
        ),
        ([1, 2.5, None], ""),
        (["1", "a"], ""),
    ],
)
def test_the_rarest_kind_is_the_odd_one(cells, says):
    listed = [(f"row {n}", {"c": cell}) for n, cell in enumerate(cells, 1)]
    assert told(listed) == says


def test_where_all_are_of_one_kind_the_first_misfit_is_named():
    assert first_misfit([5, -1, -2], lambda cell: cell > 0) == 1
    assert first_misfit([5, 1], lambda cell: cell > 0) is None
    assert first_misfit([None, "a"], lambda _: False) == 0
