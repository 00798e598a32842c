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
