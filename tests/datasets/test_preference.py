from __future__ import annotations

from synth.pairs import make_pairs
from tests.datasets.test_sft import folder, rows_of  # noqa: F401 - a fixture


def test_pairs_prefer_right_over_wrong_of_the_same_seed(folder):  # noqa: F811
    rows = rows_of(folder, "preference:per_seed=9")
    targets = {row["id"]: row["target"] for row in folder.rows()}
    assert len(rows) > 20
    for row in rows:
        assert row["chosen"].endswith(f"#### {targets[row['id']]}")
        assert not row["rejected"].endswith(f"#### {targets[row['id']]}")
    once = rows_of(folder, "preference")
    assert len({row["id"] for row in once}) == len(once)


def test_equal_texts_and_equal_answers_make_no_pair():
    kept = [{"id": "a", "prompt": "p", "completion": "x 4", "answer": "4"}]
    dropped = [
        {"id": "a", "completion": "x 4", "answer": "4", "reason": "wrong_step"},
        {"id": "a", "completion": "4.0", "answer": "4.0", "reason": "wrong_answer"},
    ]
    assert list(make_pairs(kept, dropped, per_seed=9)) == []
    assert len(list(make_pairs(kept, [{**dropped[1], "reason": "wrong_step"}]))) == 1
    assert list(make_pairs(kept, [{**dropped[1], "answer": "5", "reason": "no_answer_marker"}])) == []
