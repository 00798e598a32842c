"""Lists are scored by the mean of their teachers, kept where a student nearly knows, and
searched by words without a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring import evaluate_retriever, score_lists
from finetune.measuring.evaluate_retriever import SearchConfig
from finetune.measuring.score_lists import ScoreConfig, run
from finetune.scoring.retrievers import pair_scores
from synth.core.errors import WrongUse
from tests.conftest import write

LISTS = [
    {"query": "red pen", "documents": ["a red pen", "blue", "a pen"]},
    {"query": "dog", "documents": ["cat", "big dog"], "group": "animals"},
    {"query": "\u4e2d house", "documents": ["old house\u2028", "tree"]},
]


def scored(monkeypatch: Any, tables: dict[str, dict[str, float]]) -> list[str]:
    """Models that give each text the score of a table; who was asked stands in the list."""
    asked: list[str] = []

    def scores(kind: str, model: str, pairs: Any) -> list[float]:
        asked.append(f"{kind} {model}")
        return [tables[model].get(text, 0.0) for _, text in pairs]

    monkeypatch.setattr(score_lists, "pair_scores", scores)
    return asked


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_scores_are_the_mean_of_the_teachers(tmp_path, monkeypatch):
    asked = scored(
        monkeypatch,
        {"one": {"a red pen": 1.0, "cat": -2.0}, "two": {"a red pen": 0.5}},
    )
    config = ScoreConfig(
        data=str(write(tmp_path / "x.jsonl", LISTS)),
        models=("one", "two"),
        output=tmp_path / "deep" / "scored.jsonl",
    )
    assert run(config) == {"rows": 3, "written": 3}
    assert asked == ["cross one", "cross two"]
    found = rows_of(config.output)
    assert [row["scores"] for row in found] == [
        [0.75, 0.0, 0.0],
        [-1.0, 0.0],
        [0.0, 0.0],
    ]
    plain = {name: LISTS[1][name] for name in ("query", "documents", "group")}
    assert found[1] == {**plain, "scores": [-1.0, 0.0]}
    assert "group" not in found[0]
    assert found[2]["documents"] == LISTS[2]["documents"]


RANKS = st.lists(st.integers(0, 4), min_size=3, max_size=3)


@given(RANKS, RANKS, st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_a_query_stays_where_teachers_know_and_the_student_is_in_the_band(
    teacher, student, band
):
    def rank(scores: list[int]) -> int:
        return sorted(scores, reverse=True).index(scores[0]) + 1

    wanted = rank(teacher) == 1 and band[0] <= rank(student) <= band[1]
    found = score_lists._learnable(
        list(map(float, teacher)), list(map(float, student)), band
    )
    assert found is wanted


def test_a_student_chooses_among_the_lists(tmp_path, monkeypatch):
    asked = scored(
        monkeypatch,
        {"t": {"a red pen": 2.0, "cat": 1.0}, "s": {"blue": 1.0, "cat": 1.0}},
    )
    config = ScoreConfig(
        data=str(write(tmp_path / "x.jsonl", LISTS)),
        models=("t",),
        output=tmp_path / "scored.jsonl",
        student="s",
        band=(2, 3),
    )
    assert run(config) == {"rows": 3, "written": 1}
    assert asked == ["cross t", "bi s"]
    assert rows_of(config.output)[0]["query"] == "red pen"


PAIRS = [
    ("red pen", "a red pen"),
    ("red pen", "blue house"),
    ("house", "blue house"),
    ("red pen", "a red pen"),
    ("nothing known", "a red pen"),
]


def test_words_score_equal_pairs_equally_and_unknown_words_0():
    found = pair_scores("bi", "bm25", PAIRS)
    assert found[0] == found[3] > 0
    assert found[1] == 0.0
    assert found[2] > 0
    assert found[4] == 0.0
    # Who asks first plays no part.
    assert pair_scores("cross", "bm25", PAIRS[::-1])[::-1] == found


def config_of(tmp_path: Path, rows: Any, **more: Any) -> SearchConfig:
    return SearchConfig(
        data=str(write(tmp_path / "lists.jsonl", rows)),
        model="bm25",
        output=tmp_path / "out",
        **more,
    )


def test_a_corpus_is_searched_by_words_and_what_was_found_is_written(tmp_path):
    corpus = [{"body": f"page {n} of a book"} for n in range(20)]
    corpus += [{"body": "a red pen"}, {"body": "the big dog"}]
    rows = [
        {"query": "red pen", "positive": "a red pen"},
        {"query": "big dog", "positive": "the big dog"},
        {"query": "no such words here", "positive": "page 3 of a book"},
    ]
    path = str(write(tmp_path / "corpus.jsonl", corpus))
    info = evaluate_retriever.run(
        config_of(tmp_path, rows, corpus=path, field="body", k=3)
    )
    assert info["corpus"] == 22
    assert info["mrr@3"]["mean"] >= 2 / 3
    assert info["recall@3"]["queries"] == 3
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written == info
    found = rows_of(tmp_path / "out" / "run.jsonl")
    assert [row["query"] for row in found] == [row["query"] for row in rows]
    assert found[0]["found"][0]["text"] == "a red pen"
    assert found[1]["found"][0]["text"] == "the big dog"


def test_a_query_in_several_rows_is_judged_once_over_all_its_texts(tmp_path):
    rows = [
        {"query": "red pen", "positive": "a red pen", "negatives": ["blue"]},
        {"query": "red pen", "positive": "pen red", "negatives": ["dog"]},
    ]
    info = evaluate_retriever.run(config_of(tmp_path, rows))
    assert info["recall@10"] == {
        "mean": 1.0,
        "low": 1.0,
        "high": 1.0,
        "queries": 1,
    }
    assert info["corpus"] == 4
    assert info["map"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        (
            [{"query": "a", "documents": ["b", "c"], "scores": [0.1, 0.4]}],
            {},
            "no text that answers its query",
        ),
        (
            [{"query": "a", "documents": ["b"], "scores": [-3.0]}],
            {},
            "no text that answers its query",
        ),
        (
            [{"query": "a", "positive": "b"}],
            {"corpus": "CORPUS", "field": "nope"},
            "columns text",
        ),
        ([{"query": "a"}], {}, "columns query"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, rows, more, says):
    corpus = str(write(tmp_path / "corpus.jsonl", [{"text": "b"}]))
    filled = {**more, "corpus": corpus} if "corpus" in more else more
    with pytest.raises(WrongUse) as caught:
        evaluate_retriever.run(config_of(tmp_path, rows, **filled))
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_ranker_of_pairs_does_not_search(tmp_path):
    corpus = str(write(tmp_path / "corpus.jsonl", [{"text": "b"}]))
    config = SearchConfig(
        data=str(
            write(tmp_path / "x.jsonl", [{"query": "a", "positive": "b"}])
        ),
        model="some/model",
        output=tmp_path / "out",
        corpus=corpus,
        kind="cross",
    )
    with pytest.raises(WrongUse, match="Leave --corpus out"):
        evaluate_retriever.run(config)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"band": (5, 2), "student": "s"}, "a first and a last rank"),
        ({"band": (0, 2), "student": "s"}, "a first and a last rank"),
        ({"band": (1, 2)}, "--student M"),
        ({"words": ("so", "not")}, "--kind words"),
        ({"template": "{query} {document}"}, "--kind words, likelihood or"),
        ({"kind": "likelihood", "words": ("so", "not")}, "--kind words"),
    ],
)
def test_options_that_do_nothing_are_refused_before_a_model_opens(
    tmp_path, more, says
):
    config = ScoreConfig(
        data=str(write(tmp_path / "x.jsonl", LISTS)),
        models=("none",),
        output=tmp_path / "scored.jsonl",
        **more,
    )
    with pytest.raises(WrongUse, match=says):
        run(config)


def test_scores_do_not_take_the_place_of_the_rows_or_of_a_folder(tmp_path):
    rows = write(tmp_path / "x.jsonl", LISTS)
    before = rows.read_text()
    for output, says in ((rows, "the file of --input"), (tmp_path, "a folder")):
        with pytest.raises(WrongUse, match=says):
            run(ScoreConfig(data=str(rows), models=("none",), output=output))
    assert rows.read_text() == before
