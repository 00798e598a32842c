"""Near duplicates: every pair that brute force finds, none that it does not, whatever the order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.filters.near_duplicate import NearDuplicate
from synth.text.joins import Neighbours, token_sets
from synth.text.words import words

TEXTS = st.lists(
    st.lists(st.sampled_from("abcdefg"), max_size=9).map(" ".join), max_size=25
)


def sets(texts, n):
    split = [words(text) for text in texts]
    return [
        {tuple(w[i : i + n]) for i in range(len(w) - n + 1)}
        or ({tuple(w)} if w else set())
        for w in split
    ]


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0.0


@settings(max_examples=300, deadline=None)
@given(
    texts=TEXTS,
    n=st.integers(1, 4),
    similarity=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_the_join_finds_exactly_the_pairs_of_brute_force(texts, n, similarity):
    found, index = {}, Neighbours(token_sets(texts, n), similarity)
    for place in range(len(texts)):
        found.update({(other, place): s for other, s in index.similar(place)})
        index.add(place)
    grams = sets(texts, n)
    wanted = {
        (a, b): jaccard(grams[a], grams[b])
        for b in range(len(texts))
        for a in range(b)
        if grams[a] and grams[b]
    }
    assert found == {
        pair: pytest.approx(s)
        for pair, s in wanted.items()
        if s >= similarity - 1e-9
    }


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, seed=st.integers(0, 99))
def test_what_is_dropped_is_similar_to_what_is_kept_and_what_is_kept_is_not(
    texts, seed
):
    part = NearDuplicate(similarity=0.5, words=2)
    rows = [
        {"question": text, "place": place} for place, text in enumerate(texts)
    ]
    kept, dropped = part.split(rows)
    grams = sets(texts, 2)
    places = [row["place"] for row in kept]
    for row in dropped:
        mark = row["marks"]["near_duplicate"]
        assert mark["of"] in places
        assert jaccard(grams[row["place"]], grams[mark["of"]]) == pytest.approx(
            mark["similarity"], abs=1e-4
        )
    assert all(
        not grams[a] or jaccard(grams[a], grams[b]) < 0.5
        for a in places
        for b in places
        if a < b
    )
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert sorted(r["question"] for r in part.split(shuffled)[0]) == sorted(
        r["question"] for r in kept
    )


def test_numbers_tell_texts_apart_unless_told_otherwise():
    text = "A train travels {} miles in three hours at the same steady speed and then it rests"
    rows = [{"question": text.format(n)} for n in (270, 360, 270)]
    assert len(NearDuplicate().split(rows)[0]) == 2
    assert (
        len(NearDuplicate(numbers="alike", similarity=0.6).split(rows)[0]) == 1
    )


def test_parameters_out_of_range_are_refused():
    for wrong in (
        {"similarity": 0},
        {"similarity": 1.5},
        {"words": 0},
        {"numbers": "maybe"},
    ):
        with pytest.raises(ValueError, match="use"):
            NearDuplicate(**wrong)
