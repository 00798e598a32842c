"""Mining: right texts are never negatives, near ones are passed over, each negative says where it came from."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.cli import main
from synth.core.errors import WrongUse
from synth.search.mining import Miner, Mining, near_pairs
from tests.conftest import write

CORPUS = [
    f"The {thing} of {place} is kept by {who}."
    for thing, who in (("light", "Ann"), ("bell", "Bo"))
    for place in ("Harrow", "Malm", "Quay")
]


@given(
    count=st.integers(1, 5),
    first=st.integers(0, 2),
    pick=st.sampled_from(["top", "random", "bottom"]),
    margin=st.sampled_from([None, 0.5, 0.95]),
)
@settings(max_examples=30)
def test_no_right_text_is_ever_a_negative(count, first, pick, margin):
    miner = Miner(
        [*CORPUS, CORPUS[0].upper()],
        Mining(
            by=("bm25", "hashing"),
            count=count,
            window=(first, 5),
            pick=pick,
            margin=margin,
        ),
    )
    (row,) = miner.rows(
        [
            {
                "query": "who keeps the light of Harrow",
                "positive": CORPUS[0],
                "id": 7,
            }
        ]
    )
    texts = [negative["text"].casefold() for negative in row["negatives"]]
    assert CORPUS[0].casefold() not in texts
    assert len(texts) == len(set(texts)) <= count
    assert row["id"] == 7
    assert all(
        first <= negative["rank"] < 5 and negative["by"] in ("bm25", "hashing")
        for negative in row["negatives"]
    )


def test_what_scores_like_the_positive_is_passed_over_and_counted():
    corpus = ["red pen of Ann", "the red pen of Ann", "blue pen of Bo"]
    row = {"query": "red pen of Ann", "positive": corpus[0]}
    strict, lax = (
        Miner(corpus, Mining(by=("hashing",), margin=margin))
        for margin in (0.5, None)
    )
    assert [n["text"] for n in next(strict.rows([row]))["negatives"]] == [
        corpus[2]
    ]
    assert strict.counts["too_near"] == 1
    assert len(next(lax.rows([row]))["negatives"]) == 2


def test_a_positive_outside_the_corpus_still_sets_the_limit():
    miner = Miner(
        ["red pen of Bo", "blue sky"], Mining(by=("hashing",), margin=0.9)
    )
    (row,) = miner.rows(
        [
            {
                "query": "red pen of Bo",
                "positive": ["red pen of Ann", "red pen by Ann"],
            }
        ]
    )
    assert [n["text"] for n in row["negatives"]] == ["blue sky"]


def test_rows_without_a_query_are_refused():
    with pytest.raises(WrongUse, match="row 2"):
        list(
            Miner(CORPUS, Mining()).rows(
                [
                    {"query": "a", "positive": "b"},
                    {"question": "a", "positive": "b"},
                ]
            )
        )


def test_the_command_writes_rows_and_says_what_it_found(tmp_path):
    corpus = write(
        tmp_path / "corpus.jsonl", [{"text": text} for text in CORPUS]
    )
    rows = write(
        tmp_path / "rows.jsonl",
        [{"query": "who keeps the light of Malm", "positive": CORPUS[1]}],
    )
    out = tmp_path / "mined.jsonl"
    result = CliRunner().invoke(
        main,
        [
            "mine",
            "--input",
            str(rows),
            "--corpus",
            str(corpus),
            "--output",
            str(out),
            "--by",
            "bm25",
            "--by",
            "hashing",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "1 rows, negatives:" in result.output
    (row,) = map(json.loads, out.read_text().splitlines())
    assert len(row["negatives"]) == 4
    assert {n["by"] for n in row["negatives"]} == {"bm25", "hashing"}


@given(st.integers(2, 12), st.integers(1, 6), st.integers(1, 20))
@settings(max_examples=30)
def test_pairs_are_near_in_rank_and_no_more_than_asked_for(count, reach, most):
    row = {
        "query": "q",
        "documents": [f"d{n}" for n in range(count)],
        "scores": [float(-((n * 7) % count)) for n in range(count)],
    }
    made = list(near_pairs([row], reach=reach, most=most))
    assert len(made) == min(
        most, sum(min(reach, count - 1 - i) for i in range(count))
    )
    assert all(
        0 < pair["ranks"][1] - pair["ranks"][0] <= reach for pair in made
    )
    assert len({tuple(pair["ranks"]) for pair in made}) == len(made)
    assert made == list(near_pairs([row], reach=reach, most=most))


def test_the_better_text_of_a_pair_comes_first(tmp_path):
    rows = write(
        tmp_path / "ranked.jsonl",
        [{"query": "q", "documents": ["a", "b"], "scores": [0.1, 0.9]}],
    )
    out = tmp_path / "pairs.jsonl"
    assert (
        CliRunner()
        .invoke(main, ["pair-up", "--input", str(rows), "--output", str(out)])
        .exit_code
        == 0
    )
    assert json.loads(out.read_text()) == {
        "query": "q",
        "first": "b",
        "second": "a",
        "ranks": [0, 1],
    }
    broken = write(tmp_path / "broken.jsonl", [{"query": "q"}])
    assert (
        CliRunner()
        .invoke(main, ["pair-up", "--input", str(broken), "--output", str(out)])
        .exit_code
        == 2
    )


ROW = {"query": "who keeps the light of Harrow", "positive": CORPUS[0]}


def negatives_of(corpus=CORPUS, row=ROW, **mining):
    (found,) = Miner(corpus, Mining(**mining)).rows([row])
    return found["negatives"]


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_corpus_changes_no_score(rng):
    shuffled = rng.sample(CORPUS, len(CORPUS))
    score_by_text = {
        negative["text"]: negative["score"]
        for negative in negatives_of(shuffled, count=9)
    }
    wanted = {
        negative["text"]: negative["score"]
        for negative in negatives_of(count=9)
    }
    assert score_by_text == wanted


@pytest.mark.parametrize("window", [(5, 5), (4, 2), (99, 120)])
def test_a_window_that_holds_nothing_finds_nothing(window):
    assert negatives_of(window=window) == []


def test_every_positive_of_a_list_is_right():
    row = {**ROW, "positive": [CORPUS[0], CORPUS[2].upper()]}
    texts = [negative["text"] for negative in negatives_of(row=row, count=9)]
    assert CORPUS[0] not in texts
    assert CORPUS[2] not in texts
    assert len(texts) == 4


def test_texts_of_signs_alone_are_told_apart():
    row = {"query": "plus", "positive": "+"}
    miner = Miner(
        ["+", "-", "plus minus"], Mining(by=("hashing",), margin=None)
    )
    (found,) = miner.rows([row])
    texts = {negative["text"] for negative in found["negatives"]}
    assert texts == {"-", "plus minus"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"query": "", "positive": "a"}, "a 'query'"),
        ({"query": "q", "positive": []}, "a 'positive'"),
        ({"query": "q", "positiv": "a"}, "Did you mean positiv?"),
        ({}, "a 'query'"),
    ],
)
def test_a_row_that_cannot_be_mined_is_named_with_its_columns(row, says):
    with pytest.raises(WrongUse) as error:
        list(Miner(CORPUS, Mining()).rows([ROW, row]))
    assert str(error.value).startswith("row 2: found columns")
    assert says in str(error.value)


def test_an_empty_corpus_is_refused():
    with pytest.raises(WrongUse, match="--corpus: found no texts"):
        Miner([], Mining())


@pytest.mark.parametrize(
    "scores",
    [
        [1.0],
        [1, 2, 3],
        [1, "2"],
        [1, None],
        [1, float("nan")],
        {"a": 1, "b": 2},
    ],
)
def test_scores_that_do_not_fit_their_documents_are_refused(scores):
    row = {"query": "q", "documents": ["a", "b"], "scores": scores}
    with pytest.raises(WrongUse) as error:
        list(near_pairs([row]))
    assert str(error.value).startswith("row 1: found ")
    assert "wanted a number for each document" in str(error.value)


@given(st.permutations([0.5, 1.5, 2.5, 3.5]), st.integers(1, 3))
def test_pairs_go_by_the_scores_and_not_by_the_places(scores, reach):
    documents = [f"text {score}" for score in scores]
    row = {"query": "q", "documents": documents, "scores": list(scores)}
    best = sorted(documents, reverse=True)
    for pair in near_pairs([row], reach=reach):
        first, second = pair["ranks"]
        assert 0 < second - first <= reach
        assert pair["first"] == best[first]
        assert pair["second"] == best[second]


@pytest.mark.parametrize(
    "row",
    [{"query": "q"}, {"documents": ["a"]}, {"query": "q", "documents": "a"}],
)
def test_a_row_without_a_list_is_refused(row):
    with pytest.raises(WrongUse, match="wanted query and documents"):
        list(near_pairs([row]))


@pytest.mark.parametrize(
    "positive", [7, 7.5, {"text": "seven"}, ("7",), ["7", 8]]
)
def test_a_positive_that_is_no_text_is_read_as_one(positive):
    corpus = ["7", "8", "a red pen of 7"]
    row = {"query": "7 and 8", "positive": positive}
    (found,) = Miner(corpus, Mining(margin=None)).rows([row])
    texts = {negative["text"] for negative in found["negatives"]}
    right = positive if isinstance(positive, list | tuple) else [positive]
    assert texts == set(corpus) - {str(one) for one in right}
