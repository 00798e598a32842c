"""The place of the gold in a ranked list."""

from __future__ import annotations

import pytest

from finetune.measures.rank import Rank

ROW = {"prompt": "p", "answer": "1. hat\n2. pen\n3. tree\n4. dog"}


@pytest.mark.parametrize(
    ("target", "value"),
    [("hat", 1), ("tree", 1 / 3), ("cow", 0), (["dog", "pen"], 0.5)],
)
def test_the_first_right_item_counts(target, value):
    assert Rank().of_question([{**ROW, "target": target}]) == value


def test_hits_are_of_questions():
    rows = [
        {**ROW, "target": target} for target in ("hat", "dog", "cow", "tree")
    ]
    assert Rank().more(rows) == {
        "hits_at_1": 0.25,
        "hits_at_3": 0.5,
        "hits_at_10": 0.75,
    }


def test_other_right_items_that_are_known_are_passed_over():
    row = {**ROW, "target": "dog", "known": ["pen", "hat", "dog"]}
    assert Rank().of_question([row]) == 0.5
    assert Rank().more([row])["hits_at_3"] == 1.0


def test_of_a_question_it_is_scikit_learns_for_one_right_item():
    from sklearn.metrics import label_ranking_average_precision_score

    names = ["hat", "pen", "tree", "dog"]
    for target in names:
        truth = [[int(name == target) for name in names]]
        scores = [[4, 3, 2, 1]]
        wanted = label_ranking_average_precision_score(truth, scores)
        assert Rank().of_question([{**ROW, "target": target}]) == wanted
