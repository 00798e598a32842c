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
