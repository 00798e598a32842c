from __future__ import annotations

from synth.filters.likelihood import Likelihood


def test_sums_and_means_rank_differently_and_other_rows_are_unknown():
    rows = [
        {"n": 1, "logprob": -1.0, "completion_tokens": 9},
        {"n": 2, "logprob": -2.0, "completion_tokens": 2},
        {"n": 3},
    ]
    assert [row["n"] for row in Likelihood(worst=0.5).split(rows)[1]] == [1]
    assert [
        row["n"] for row in Likelihood(worst=0.5, mean=True).split(rows)[1]
    ] == [2]
    assert [
        row["n"] for row in Likelihood(worst=0.5, unknown="drop").split(rows)[1]
    ] == [1, 3]


def test_meta_of_a_run_is_read():
    rows = [
        {"meta": {"logprob": -1.0 * n, "completion_tokens": 1}}
        for n in range(10)
    ]
    assert len(Likelihood(worst=0.2).split(rows)[1]) == 2
