"""Sets of n-grams and their join, against sets of tuples and all pairs of texts."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.text.shingles import (
    Lengths,
    Neighbours,
    Vocabulary,
    ngrams,
    shingle,
)
from synth.text.words import jaccard_of, kind, words

WORDS = ["a", "bb", "the", "7", "\u6625", "\u5929", "\u0e01", "\u3042", "\u30ab", "go"]  # fmt: skip
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=6)  # fmt: skip
PLAIN = st.lists(st.lists(st.sampled_from(WORDS[:4]), max_size=9).map(" ".join), max_size=6)  # fmt: skip


def plain_grams(text: str, lengths: Lengths) -> set[tuple[str, ...]]:
    """The n-grams of a text: by the kind of the first word, and what they leave at its end."""
    own = words(text)
    if not own:
        return set()
    long = [lengths[kind(word)] for word in own]
    ends = [start + n for start, n in enumerate(long)]
    grams = {
        tuple(own[start:end])
        for start, end in enumerate(ends)
        if end <= len(own)
    }
    covered = max((end for end in ends if end <= len(own)), default=0)
    if covered < len(own):
        grams.add(tuple(own[max(0, len(own) - long[-1]) :]))
    return grams


def similarity(one: set, two: set) -> float:
    return len(one & two) / len(one | two)


@given(TEXTS, st.integers(1, 4))
def test_the_sets_are_those_of_tuples(texts, n):
    sets = shingle(texts, n)
    wanted = [plain_grams(text, Lengths.fine(n)) for text in texts]
    assert len(sets) == len(texts)
    assert np.diff(sets.starts).tolist() == [len(grams) for grams in wanted]
    for one, two in combinations(range(len(texts)), 2):
        shared = {*sets.of(one).tolist()} & {*sets.of(two).tolist()}
        assert len(shared) == len(wanted[one] & wanted[two])
    for text in range(len(texts)):
        tokens = sets.of(text).tolist()
        assert tokens == sorted(set(tokens))


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6, unique=True).map(" ".join), max_size=6))  # fmt: skip
def test_rare_tokens_have_small_numbers(texts):
    sets = shingle(texts, 1)
    counts = np.bincount(sets.tokens) if len(sets.tokens) else np.zeros(0)
    assert np.all(np.diff(counts) >= 0)
    assert np.all(counts > 0)


@pytest.mark.parametrize("least", [0.2, 0.5, 2 / 3, 0.8, 1.0])
@given(texts=TEXTS, n=st.integers(1, 3))
def test_the_join_finds_every_pair_and_no_other(least, texts, n):
    sets = shingle(texts, n)
    grams = [plain_grams(text, Lengths.fine(n)) for text in texts]
    neighbours = Neighbours(sets, least)
    found = {}
    for text in range(len(texts)):
        found |= {(other, text): s for other, s in neighbours.similar(text)}
        neighbours.add(text)
    wanted = {}
    for one, two in combinations(range(len(texts)), 2):
        if grams[one] and grams[two]:
            wanted[one, two] = similarity(grams[one], grams[two])
    close = {pair: s for pair, s in wanted.items() if s >= least - 1e-9}
    assert found == pytest.approx(close)


@given(PLAIN, st.integers(1, 4))
def test_ngrams_of_one_length_are_those_of_many(texts, n):
    ids, starts = Vocabulary().ids(texts)
    even = ngrams(ids, starts, n)
    uneven = ngrams(ids, starts, np.full(len(ids), n))
    assert even[1].tolist() == uneven[1].tolist()
    owned = [{*zip(*map(np.ndarray.tolist, grams), strict=True)} for grams in (even, uneven)]  # fmt: skip
    assert owned[0] == owned[1]


@given(PLAIN)
def test_order_counts_inside_an_ngram_and_not_between_texts(texts):
    turned = [" ".join(text.split()[::-1]) for text in texts]
    sets = shingle([*texts, *turned], 1)
    for text in range(len(texts)):
        same = sets.of(text).tolist()
        assert same == sets.of(text + len(texts)).tolist()
    two = shingle(["a bb", "bb a"], 2)
    assert two.of(0).tolist() != two.of(1).tolist()


def test_hashes_of_short_runs_do_not_meet():
    texts = [" ".join(run) for n in (1, 2, 3) for run in product("abcdefghij", repeat=n)]  # fmt: skip
    ids, starts = Vocabulary().ids(texts)
    for n in (1, 2, 3, 5):
        hashes, _ = ngrams(ids, starts, n)
        distinct = {
            tuple(text.split()[at : at + n])
            for text in texts
            for at in range(max(1, len(text.split()) - n + 1))
        }
        assert len(set(hashes.tolist())) == len(distinct)


def test_a_vocabulary_numbers_words_as_they_come():
    vocabulary = Vocabulary()
    ids, starts = vocabulary.ids(["a b a", "", "B c"])
    assert ids.tolist() == [1, 2, 1, 2, 3]
    assert starts.tolist() == [0, 3, 3, 5]
    again, _ = vocabulary.ids(["c d"])
    assert again.tolist() == [3, 4]
    assert vocabulary.lengths(ids, Lengths.fine(3)) == 3
    mixed, _ = vocabulary.ids(["a \u6625"])
    assert vocabulary.lengths(mixed, Lengths.long(2)).tolist() == [2, 3]
    nothing, borders = Vocabulary().ids([])
    assert (nothing.tolist(), borders.tolist()) == ([], [0])


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_jaccard_is_that_of_scipy(one, two):
    distance = pytest.importorskip("scipy.spatial.distance")
    left, right = [[number in own for number in range(10)] for own in (one, two)]  # fmt: skip
    wanted = 1 - float(distance.jaccard(left, right))
    assert jaccard_of({*map(str, one)}, {*map(str, two)}) == pytest.approx(wanted)  # fmt: skip
