"""Every shape of rows becomes lists; broken ones are refused with their place."""

from __future__ import annotations

import pytest

from finetune.data.query_lists import Listed, read
from synth.core.errors import WrongUse


def one(**row):
    (found,) = read(row, "row 1")
    return found


def test_shapes():
    wanted = Listed("q", ("p", "n", "m"))
    assert one(anchor="q", positive="p", negatives=["n", "m"]) == wanted
    assert (
        one(anchor="q", positive="p", negative_1="n", negative_2="m") == wanted
    )
    assert (
        one(
            query="q",
            positive="p",
            negatives=[{"text": "n", "by": "bm25"}, {"text": "m"}, "p"],
        )
        == wanted
    )
    assert one(query="q", documents=["n", "p"], scores=[0.1, 2]) == Listed(
        "q", ("p", "n"), (2.0, 0.1)
    )
    assert one(anchor="q", positive="p", negative="n", label=0.4).scores == (
        0.0,
        -0.4,
    )
    assert one(
        anchor="q", positive="p", negatives=["n", "m"], label=[3, 2, 1]
    ).scores == (3.0, 2.0, 1.0)
    assert one(anchor="q", positive="p", group="g").group == "g"
    assert [
        found.documents[0]
        for found in read({"query": "q", "positive": ["a", "b"]}, "row 1")
    ] == ["a", "b"]


@pytest.mark.parametrize(
    "row",
    [{"prompt": "q"}, {"query": "q"}, {"query": "q", "documents": ["a", "b"], "scores": [1]}, {"query": "q", "documents": ["a"], "scores": [float("nan")]},
     {"anchor": "q", "positive": "p", "negative": "n", "label": "high"}],
)  # fmt: skip
def test_broken_rows_name_their_place(row):
    with pytest.raises(WrongUse, match="row 9"):
        list(read(row, "row 9"))
