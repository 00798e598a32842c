"""Search: BM25 against its formula, inner products against brute force."""

from __future__ import annotations

import sys
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.local_models.scores import vectors
from synth.search import index as index_module
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
    stems = open_index(["bank", "city", "mill"], "bm25_stems")
    found = stems.best(["the banks of two cities"], 3)[0]
    assert [place for place, _ in found] == [0, 1]
    assert open_index(["bank"], "bm25").best(["the banks"], 1) == [[]]
    dense = open_index(["a red pen", "blue sky"], "hashing")
    assert isinstance(dense, Dense)
    assert dense.best(["the red pen"], 1)[0][0][0] == 0
    assert Dense((), "hashing").best(["a"], 1) == [[]]


TEXTS = st.lists(
    st.lists(st.sampled_from(["red", "pen", "sky", "a"]), max_size=5).map(
        " ".join
    ),
    min_size=1,
    max_size=8,
)


@given(TEXTS, TEXTS, st.integers(1, 9))
def test_hits_come_nearest_first_equal_ones_in_order_and_each_once(
    texts, queries, most
):
    for hits in Bm25(tuple(texts)).best(queries, most):
        places = [place for place, _ in hits]
        assert len(places) == len(set(places)) <= most
        assert hits == sorted(hits, key=lambda hit: (-hit[1], hit[0]))
        assert all(score > 0 for _, score in hits)


@given(TEXTS, TEXTS)
def test_a_query_is_answered_alike_alone_and_among_others(texts, queries):
    index = Bm25(tuple(texts))
    together = index.best(queries, 5)
    assert together == [index.best([query], 5)[0] for query in queries]


@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 70),
    width=st.integers(1, 5),
    most=st.integers(1, 80),
)
def test_whole_numbers_are_searched_exactly_with_ties_in_order(
    seed, rows, width, most
):
    rng = np.random.default_rng(seed)
    table = rng.integers(-2, 3, (rows, width)).astype(np.float32)
    queries = rng.integers(-2, 3, (3, width)).astype(np.float32)
    for query, hits in zip(queries, nearest(queries, table, most), strict=True):
        scores = (table @ query).tolist()
        wanted = sorted(range(rows), key=lambda place: (-scores[place], place))
        assert [place for place, _ in hits] == wanted[:most]
        assert [score for _, score in hits] == sorted(scores)[::-1][:most]


@pytest.mark.parametrize("tile", [1, 3, 64, 100])
def test_the_size_of_a_tile_changes_no_hit(monkeypatch, tile):
    rng = np.random.default_rng(7)
    table = rng.integers(-3, 4, (130, 4)).astype(np.float32)
    queries = rng.integers(-3, 4, (9, 4)).astype(np.float32)
    wanted = nearest(queries, table, 5)
    monkeypatch.setattr(index_module, "_TILE", tile)
    monkeypatch.setattr(index_module, "_ROWS", 2)
    monkeypatch.setattr(index_module, "_SPARE", 1)
    assert nearest(queries, table, 5) == wanted


def test_vectors_are_searched_as_brute_force_does():
    texts = ("red pen", "blue pen", "old house", "red red pen", "")
    dense = Dense(texts, "hashing")
    queries = ["red pen", "house", "zebra"]
    table = vectors(texts, "hashing")
    for query, hits in zip(queries, dense.best(queries, 5), strict=True):
        cosines = table @ vectors([query], "hashing")[0]
        assert [score for _, score in hits] == pytest.approx(
            sorted(cosines.tolist(), reverse=True), abs=1e-6
        )
        assert all(-1.001 <= score <= 1.001 for _, score in hits)
    assert dense.best([], 3) == []


def test_a_search_by_words_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(WrongUse, match="bm25s"):
        open_index(["a"], "bm25")
