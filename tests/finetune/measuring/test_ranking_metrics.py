"""Ranking metrics equal trec_eval's, ties and unjudged texts included."""

from __future__ import annotations

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring.ranking_metrics import evaluate, ranked, summary

NAMES = [f"d{n}" for n in range(8)]
GRADES = st.dictionaries(st.sampled_from(NAMES), st.integers(-1, 3), min_size=1)
SCORES = st.dictionaries(
    st.sampled_from(NAMES),
    st.sampled_from([0.0, 0.5, 1.0, 2.25, -3.0]),
    min_size=1,
)


@given(
    st.dictionaries(st.sampled_from("abc"), GRADES, min_size=1),
    st.dictionaries(st.sampled_from("abc"), SCORES, min_size=1),
    st.integers(1, 9),
)
def test_all_metrics_are_those_of_trec_eval(qrels, run, k):
    wanted = pytrec_eval.RelevanceEvaluator(
        qrels, {f"ndcg_cut.{k}", "recip_rank", f"recall.{k}", "map"}
    ).evaluate(run)
    found = evaluate(run, qrels, k)
    queries = [query for query in qrels if query in run]
    for place, query in enumerate(queries):
        theirs = wanted[query]
        assert found[f"ndcg@{k}"][place] == pytest.approx(
            theirs[f"ndcg_cut_{k}"], abs=1e-6
        )
        assert found[f"recall@{k}"][place] == pytest.approx(
            theirs[f"recall_{k}"], abs=1e-6
        )
        assert found["map"][place] == pytest.approx(theirs["map"], abs=1e-6)
        if theirs["recip_rank"] * k >= 1 - 1e-9 or theirs["recip_rank"] == 0:
            assert found[f"mrr@{k}"][place] == pytest.approx(
                theirs["recip_rank"], abs=1e-6
            )


def test_equal_scores_go_by_falling_id():
    assert ranked({"a": 1.0, "b": 1.0, "c": 2.0}) == ["c", "b", "a"]


def test_the_interval_holds_the_mean_and_narrows():
    wide, narrow = summary([0.0, 1.0] * 5), summary([0.0, 1.0] * 500)
    assert wide["low"] < 0.5 < wide["high"]
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    assert summary([]) == {"mean": 0.0, "low": 0.0, "high": 0.0, "queries": 0}


DISTINCT = st.dictionaries(
    st.sampled_from(NAMES), st.integers(-50, 50), min_size=2, max_size=8
).filter(lambda scores: len(set(scores.values())) == len(scores))


@given(DISTINCT, st.data(), st.integers(1, 9))
def test_gains_are_those_of_scikit_learn_where_no_scores_are_equal(
    scores, data, k
):
    metrics = pytest.importorskip("sklearn.metrics")
    grades = {name: data.draw(st.integers(0, 3), label=name) for name in scores}
    wanted = metrics.ndcg_score(
        [[grades[name] for name in scores]], [list(scores.values())], k=k
    )
    found = evaluate({"q": scores}, {"q": grades}, k)
    assert found[f"ndcg@{k}"] == [pytest.approx(wanted)]
    relevant = [grades[name] > 0 for name in scores]
    if any(relevant):
        wanted = metrics.average_precision_score(
            relevant, list(scores.values())
        )
        assert found["map"] == [pytest.approx(wanted)]


@given(DISTINCT, st.data())
def test_a_better_place_for_a_right_text_makes_no_metric_worse(scores, data):
    order = ranked(scores)
    grades = {name: data.draw(st.integers(0, 2)) for name in order}
    place = data.draw(st.integers(1, len(order) - 1))
    higher, lower = order[place - 1], order[place]
    swapped = {**scores, higher: scores[lower], lower: scores[higher]}
    one = evaluate({"q": scores}, {"q": grades}, 3)
    two = evaluate({"q": swapped}, {"q": grades}, 3)
    for name, (value,) in one.items():
        assert 0 <= value <= 1
        if grades[lower] >= grades[higher]:
            assert two[name][0] >= value - 1e-12
        else:
            assert two[name][0] <= value + 1e-12


def test_queries_without_a_run_or_a_grade_are_left_out_and_none_is_0():
    found = evaluate({"q": {"a": 1.0}}, {"p": {"a": 1}, "q": {"b": 1}}, 5)
    assert found["ndcg@5"] == [0.0]
    assert evaluate({}, {"q": {"a": 1}}, 5)["map"] == []
    assert evaluate({"q": {}}, {"q": {"a": 1}}, 5)["recall@5"] == [0.0]
    assert summary([]) == {"mean": 0.0, "low": 0.0, "high": 0.0, "queries": 0}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 9))
def test_an_interval_is_drawn_from_the_values_and_the_seed(values, seed):
    found = summary(values, resamples=50, seed=seed)
    assert found == summary(values, resamples=50, seed=seed)
    assert min(values) - 1e-9 <= found["low"] <= found["high"]
    assert found["high"] <= max(values) + 1e-9
    assert found["queries"] == len(values)
    assert found["mean"] == pytest.approx(sum(values) / len(values))
