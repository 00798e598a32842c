"""Shared words, against the reference script's rule written anew over plain words."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.token_f1 import TokenF1, f1

WORDS = st.lists(
    st.sampled_from(["red", "pen", "the", "a", "old", "house"]), max_size=6
)


def reference(answer, gold):
    one, two = (
        [word for word in side if word not in ("a", "an", "the")]
        for side in (answer, gold)
    )
    if not one or not two:
        return float(one == two)
    same = sum((Counter(one) & Counter(two)).values())
    if not same:
        return 0.0
    precision, recall = same / len(one), same / len(two)
    return 2 * precision * recall / (precision + recall)


@given(WORDS, WORDS)
def test_it_is_the_harmonic_mean(answer, gold):
    assert f1(" ".join(answer), " ".join(gold)) == pytest.approx(
        reference(answer, gold)
    )


def test_the_best_gold_counts_and_draws_are_averaged():
    rows = [
        {"answer": "red pen", "target": ["blue", "pen red"]},
        {"answer": "tree", "target": ["blue", "pen red"]},
    ]
    assert TokenF1().of_question(rows) == 0.5
    assert TokenF1().of_question([{"reply": "blue", "target": "blue"}]) == 1
