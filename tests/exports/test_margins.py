"""See test_triplets.py; here: bounds."""

from __future__ import annotations

from tests.exports.test_triplets import made, rehearsed


def test_small_differences_and_too_many_pairs_are_left_out(tmp_path):
    run = rehearsed("rank_passages", tmp_path)
    assert [row["label"] for row in made(run, "margins:least=0.5")] == [
        0.666667,
        0.5,
    ]
    assert len(made(run, "margins:most=1")) == 1
