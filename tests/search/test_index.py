"""Search: BM25 against its formula, inner products against brute force."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.search.index import Bm25, Dense, nearest, open_index

WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6), WORDS)
def test_scores_are_those_of_the_formula(texts, query):
    found = dict(Bm25(tuple(texts)).best([query], 99)[0])
    mean = sum(len(t.split()) for t in texts) / len(texts)
    for place, text in enumerate(texts):
        wanted = 0.0
        for word in set(query.split()):
            times, held = (
                text.split().count(word),
                sum(word in t.split() for t in texts),
            )
            idf = log(1 + (len(texts) - held + 0.5) / (held + 0.5))
            wanted += (
                idf
                * times
                / (times + 1.2 * (0.25 + 0.75 * len(text.split()) / mean))
            )
        assert found.get(place, 0.0) == pytest.approx(wanted, abs=1e-5)


def test_queries_without_a_known_word_find_nothing_and_keep_their_place():
    index = Bm25(("red pen", "blue sky"))
    assert [
        [place for place, _ in hits]
        for hits in index.best(["zebra", "sky", "", "the red pen"], 5)
    ] == [[], [1], [], [0]]


@pytest.mark.parametrize("most", [1, 7, 30_000])
def test_inner_products_are_those_of_brute_force_with_ties_in_order(most):
    rng = np.random.default_rng(3)
    table, queries = (
        rng.standard_normal((20_000, 8)).astype(np.float32),
        rng.standard_normal((300, 8)).astype(np.float32),
    )
    table[[5, 17, 9000, 19_999]] = 9 * table[17]
    queries[0] = table[17]
    found = nearest(queries[: 300 if most < 100 else 2], table, most)
    for query, hits in zip(queries, found, strict=False):
        wanted = np.lexsort((np.arange(len(table)), -(query @ table.T)))[:most]
        scores = query @ table.T
        assert np.allclose(
            [score for _, score in hits], scores[wanted], atol=1e-5
        )
        assert len({place for place, _ in hits}) == min(most, len(table))
    if most == 7:
        assert [place for place, _ in found[0][:4]] == [5, 17, 9000, 19_999]


def test_an_index_goes_by_its_name():
    assert isinstance(open_index(["a"], "bm25"), Bm25)
    dense = open_index(["a red pen", "blue sky"], "hashing")
    assert isinstance(dense, Dense)
    assert dense.best(["the red pen"], 1)[0][0][0] == 0
    assert Dense((), "hashing").best(["a"], 1) == [[]]
