"""Every shape of rows becomes lists; broken ones are refused with their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.query_lists import Listed, load, read
from synth.core.errors import WrongUse
from tests.conftest import write


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


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"query": "q", "documents": "abc"}, "documents"),
        ({"query": "q", "documents": ["a", None]}, "documents"),
        ({"query": "q", "documents": ["a", True]}, "documents"),
        ({"query": "q", "documents": [["a"]]}, "documents"),
        ({"query": "q", "documents": {"a": 1}}, "documents"),
        ({"query": "q", "positive": ["a", None]}, "positive"),
        ({"query": "q", "positive": {"txt": "a"}}, "positive"),
        ({"query": "q", "positive": True}, "positive"),
        ({"query": "q", "positive": "p", "negatives": "abc"}, "negatives"),
        ({"query": "q", "positive": "p", "negatives": [None]}, "negatives"),
        ({"query": "q", "positive": "p", "negatives": [{"t": 1}]}, "negatives"),
        ({"query": "q", "positive": "p", "negative": ["n"]}, "negative"),
        ({"query": "q", "positive": "p", "negative_2": {"x": 1}}, "negative_2"),
    ],
)
def test_what_is_no_list_of_texts_is_named_with_its_column(row, place):
    with pytest.raises(WrongUse) as caught:
        list(read(row, "--data f row 3"))
    assert caught.value.args[0] == f"--data f row 3 {place}"


@pytest.mark.parametrize(
    "scores",
    [
        0.5,
        "0.5",
        [0.5],
        [0.5, None],
        [0.5, True],
        [0.5, "1"],
        [0.5, float("inf")],
        [1, 2, 3],
        {"a": 1},
    ],
)
def test_scores_are_one_finite_number_a_text(scores):
    row = {"query": "q", "documents": ["a", "b"], "scores": scores}
    with pytest.raises(WrongUse, match="2 finite numbers, one a text"):
        list(read(row, "row 1"))


# A text of spaces alone counts as none, and a row without a question is refused.
TEXTS = st.text(min_size=1, max_size=6).filter(lambda text: text.strip())


@given(
    st.lists(
        st.tuples(TEXTS, st.floats(-9, 9)),
        min_size=1,
        max_size=7,
        unique_by=lambda pair: pair[0],
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_scored_texts_plays_no_part_but_for_ties(pairs, draw):
    def found(order: list[tuple[str, float]]) -> Listed:
        row = {
            "query": "q",
            "documents": [text for text, _ in order],
            "scores": [score for _, score in order],
        }
        (listed,) = read(row, "row 1")
        return listed

    one = found(pairs)
    shuffled = list(pairs)
    draw.shuffle(shuffled)
    two = found(shuffled)
    assert dict(zip(one.documents, one.scores, strict=True)) == dict(pairs)
    assert one.scores == two.scores
    assert list(one.scores) == sorted(one.scores, reverse=True)
    if len(set(one.scores)) == len(one.scores):
        assert one.documents == two.documents


@given(
    st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, max_size=4), TEXTS
)
def test_every_positive_is_first_of_a_list_and_never_its_own_negative(
    positives, negatives, query
):
    row = {"anchor": query, "positive": positives, "negatives": negatives}
    found = list(read(row, "row 1"))
    assert [listed.documents[0] for listed in found] == positives
    for listed in found:
        first, *others = listed.documents
        assert first not in others
        assert others == [text for text in negatives if text != first]
        assert listed.query == query


def test_numbers_of_a_plain_file_are_texts_and_columns_without_a_value_none():
    row = {
        "query": "6 * 7",
        "positive": 42,
        "negative_1": 41,
        "negative_2": None,
        "negative_3": "",
    }
    (listed,) = read(row, "row 1")
    assert listed.documents == ("42", "41")


def test_a_file_of_lists_is_read_and_its_row_is_named(tmp_path):
    good = {"query": "q", "documents": ["a", "b"], "scores": [0.0, 1.0]}
    path = write(tmp_path / "lists.jsonl", [good, good])
    assert [listed.documents for listed in load(str(path))] == [("b", "a")] * 2
    bad = {"query": "q", "documents": ["a", "b"], "scores": [1.0]}
    path = write(tmp_path / "bad.jsonl", [good, bad])
    with pytest.raises(WrongUse, match=r"bad\.jsonl row 2"):
        load(str(path))


def test_answers_of_texts_follow_their_texts():
    row = {"query": "q", "documents": ["a", "b"], "answers": ["1", "2"]}
    (plain,) = read(row, "row 1")
    assert plain.answers == ("1", "2")
    (sorted_by_score,) = read({**row, "scores": [0.1, 0.9]}, "row 1")
    assert sorted_by_score.documents == ("b", "a")
    assert sorted_by_score.answers == ("2", "1")
    with pytest.raises(WrongUse, match="an answer for each text"):
        list(read({**row, "answers": ["1"]}, "row 1"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"query": None, "positive": "a"}, "row 3 query: found None"),
        ({"query": " ", "positive": "a"}, "row 3 query: found ' '"),
        ({"anchor": 3, "positive": "a"}, "row 3: found the query 3"),
        ({"query": True, "positive": "a"}, "row 3: found the query True"),
        ({"query": "q", "positive": None}, "row 3 positive: found None"),
        ({"query": "q", "positive": "\t"}, r"row 3 positive: found '\\t'"),
        ({"query": "q", "documents": []}, r"row 3 documents: found \[\]"),
        ({"query": "q"}, "row 3: found columns query; wanted anchor"),
    ],
)
def test_a_cell_that_holds_no_text_is_named(row, says):
    with pytest.raises(WrongUse, match=says):
        list(read(row, "row 3"))


def test_of_two_columns_the_one_that_is_filled_counts():
    row = {"anchor": None, "query": "q", "documents": [], "positive": "a"}
    (found,) = read(row, "row 1")
    assert (found.query, found.documents) == ("q", ("a",))
