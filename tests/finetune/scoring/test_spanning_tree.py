"""The best tree is that of all trees, one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.trees import ROOT, a_circle
from finetune.scoring.spanning_tree import best_tree


def all_trees(count):
    """Every tree of so many words with one root."""
    for heads in product(range(count + 1), repeat=count):
        if heads.count(ROOT) == 1 and not a_circle(heads):
            yield list(heads)


def total(scores, heads):
    return sum(scores[word, head] for word, head in enumerate(heads))


def test_trees_are_as_many_as_cayley_counts():
    assert [sum(1 for _ in all_trees(n)) for n in range(1, 6)] == [
        n ** (n - 1) for n in range(1, 6)
    ]


@given(st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([1, 1e4]))
def test_no_tree_is_better(count, seed, scale):
    scores = np.random.default_rng(seed).normal(size=(count, count + 1)) * scale
    found = best_tree(scores)
    assert found.count(ROOT) == 1
    assert not a_circle(found)
    best = max(total(scores, heads) for heads in all_trees(count))
    assert total(scores, found) == pytest.approx(best)


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_no_tree_is_better_where_many_are_equal(count, seed):
    scores = (
        np.random.default_rng(seed).integers(0, 3, (count, count + 1)) * 1.0
    )
    found = best_tree(scores)
    best = max(total(scores, heads) for heads in all_trees(count))
    assert (found.count(ROOT), a_circle(found)) == (1, [])
    assert total(scores, found) == best


def test_a_tree_that_is_greedy_already_stays():
    """200 words in a chain, each found by its largest score."""
    scores = np.zeros((200, 201))
    scores[np.arange(200), np.arange(200)] = 1.0
    assert best_tree(scores) == list(range(200))


def test_no_words_are_an_empty_tree():
    assert best_tree(np.zeros((0, 1))) == []
