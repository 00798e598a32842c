"""Stages hold every row in order, by numbers or by names; a real small training through them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.recipes.curriculum import binned, named
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.integers(2, 4),
    st.booleans(),
)
def test_bins_hold_every_row_once_in_order_and_differ_by_one_at_most(
    values, bins, descending
):
    if bins > len(values):
        return
    found = binned(
        [{"d": value} for value in values], "d", bins, descending=descending
    )
    flat = [row["d"] for part in found for row in part]
    assert flat == sorted(values, reverse=descending)
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize(
    "rows",
    [
        [{"d": "easy"}, {"d": 1}],
        [{"d": None}, {"d": 1}],
        [{"d": True}, {"d": 1}],
        [{"d": 1}],
    ],
)
def test_what_is_no_number_is_refused(rows):
    with pytest.raises(WrongUse, match="--by d"):
        binned(rows, "d", 2)


def test_names_inside_meta_and_names_that_no_row_has():
    rows = [{"meta": {"teacher": name}} for name in ("large", "small", "large")]
    assert [
        len(part) for part in named(rows, "meta.teacher", ["small", "large"])
    ] == [1, 2]
    with pytest.raises(WrongUse, match=r"'smal'.*large, small|large, small"):
        named(rows, "meta.teacher", ["smal", "large"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "counts"),
    [
        (["--by", "hard", "--cumulative"], [8, 16, 24]),
        pytest.param(
            ["--by", "who", "--order", "b,a"], [12, 12], marks=pytest.mark.long
        ),
    ],
)
def test_the_command_trains_stage_after_stage(tmp_path, more, counts):
    rows = [
        {
            "prompt": f"what is {n} ?\n",
            "completion": f"it is {n}",
            "hard": n / 24,
            "who": "ab"[n % 2],
        }
        for n in range(24)
    ]
    write(tmp_path / "rows.jsonl", rows)
    code, said = finetune(
        "curriculum",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "s",
        *more,
        *FAST,
    )
    assert code == 0, said
    info = json.loads((tmp_path / "s" / "train.json").read_text())
    assert info["stages"] == counts
    assert info["losses"][-1] < info["losses"][0]


@pytest.mark.parametrize(
    ("command", "more"),
    [("curriculum", ["--by", "d", "--bins", 2]), ("fade", [])],
)
def test_a_row_of_a_late_stage_that_cannot_be_read_stops_before_the_first(
    command, more, tmp_path
):
    rows = [
        {
            "d": n,
            "context": "c.",
            "prompt": "a ",
            "completion": None if n == 3 else "b",
        }
        for n in range(4)
    ]
    write(tmp_path / "rows.jsonl", rows)
    words = [
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "s",
        *more,
    ]
    code, said = finetune(command, *words, *FAST)
    assert code == 2
    assert "row 4" in said
    assert not (tmp_path / "s").exists()
