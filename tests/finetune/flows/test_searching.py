"""The stage `search`, against cosines that are taken one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.flows import searching
from finetune.flows.row_schema import SearchSpec
from finetune.flows.searching import nearest_rows
from synth.core.errors import WrongUse
from synth.local_models.scores import vectors

TEXTS = st.text("abcd ", min_size=1, max_size=12)
CELLS = st.one_of(
    TEXTS, st.none(), st.integers(0, 9), st.lists(TEXTS, max_size=2)
)
ROWS = st.lists(
    st.fixed_dictionaries({"one": CELLS, "two": CELLS, "said": TEXTS}),
    max_size=9,
)
EXAMPLES = st.lists(
    st.fixed_dictionaries({"input": TEXTS, "output": TEXTS, "task": TEXTS}),
    min_size=1,
    max_size=3,
)
SPEC = SearchSpec(columns=["input", "output"], about={"task": "said"})


def cosine(one, other):
    first, second = vectors([one, other], "hashing").astype(np.float64)
    return float(first @ second)


def mean(values):
    return sum(values) / len(values)


def by_hand(row, examples):
    """(mean over examples, best text of the row) of both columns, and the dataset's part."""
    texts = []
    for name in ("one", "two"):
        cell = row[name]
        if isinstance(cell, list):
            cell = "\n".join(one.strip() for one in cell if one.strip())
        if isinstance(cell, str) and cell.strip():
            texts.append(cell.strip())
    if not texts:
        return None
    parts = [
        max(mean([cosine(e[column], text) for e in examples]) for text in texts)
        for column in ("input", "output")
    ]
    parts.append(mean([cosine(e["task"], row["said"]) for e in examples]))
    return mean(parts)


@given(ROWS, EXAMPLES, st.integers(1, 4))
def test_the_score_is_the_mean_of_the_best_cosines(rows, examples, part):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_PART", part)
        found = nearest_rows(rows, examples, SPEC, "hashing", "s")
    wanted = [by_hand(row, examples) for row in rows]
    assert len(found) == sum(score is not None for score in wanted)
    scores = [row["score"] for row in found]
    assert scores == sorted(scores, reverse=True)
    for row in found:
        again = {name: row[name] for name in ("one", "two", "said")}
        assert row["score"] == pytest.approx(by_hand(again, examples), abs=1e-5)
        assert set(row["scores"]) == {"input", "output", "task"}


def test_a_dataset_that_is_said_to_fit_goes_before_an_equal_text():
    rows = [
        {"id": "bees", "text": "bees fly far", "said": "of honey"},
        {"id": "trains", "text": "bees fly far", "said": "when trains go"},
    ]
    examples = [
        {"input": "bees fly", "output": "far", "task": "when do trains go"}
    ]
    found = nearest_rows(rows, examples, SPEC, "hashing", "s")
    assert [row["id"] for row in found] == ["trains", "bees"]
    assert found[0]["texts"] == {"text": "bees fly far"}
    assert (
        found[0]["scores"]["input"]
        == found[1]["scores"]["input"]
        == pytest.approx(cosine("bees fly", "bees fly far"), abs=1e-6)
    )


@pytest.mark.parametrize(
    ("rows", "examples", "said"),
    [
        ([{"text": "a", "said": "b"}], [], "no example"),
        ([{"text": "a", "said": "b"}], [{"input": "a"}], "text in 'output'"),
        (
            [{"text": "a"}],
            [{"input": "a", "output": "b", "task": "c"}],
            "text in 'said'",
        ),
    ],
)
def test_what_is_missing_is_named(rows, examples, said):
    with pytest.raises(WrongUse) as caught:
        nearest_rows(rows, examples, SPEC, "hashing", "near (before)")
    assert said in str(caught.value)
    assert "near (before)" in str(caught.value)
