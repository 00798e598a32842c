"""Sets of n-grams and their join, against sets of tuples and all pairs of texts."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.text import joins
from synth.text.joins import Neighbours, token_sets
from synth.text.shingles import Lengths
from synth.text.words import kind, words
from tests.tables import cells

WORDS = cells(
    r"""
'a' | 'bb' | 'the' | '7' | '\u6625' | '\u5929' | '\u0e01' | '\u3042' | '\u30ab' | 'go'
"""
)
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=6
)


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
    sets = token_sets(texts, n)
    wanted = [plain_grams(text, Lengths.fine(n)) for text in texts]
    assert len(sets) == len(texts)
    assert np.diff(sets.starts).tolist() == [len(grams) for grams in wanted]
    for one, two in combinations(range(len(texts)), 2):
        shared = {*sets.of(one).tolist()} & {*sets.of(two).tolist()}
        assert len(shared) == len(wanted[one] & wanted[two])
    for text in range(len(texts)):
        tokens = sets.of(text).tolist()
        assert len(tokens) == len(set(tokens))


@given(TEXTS, st.integers(1, 3))
def test_parts_of_any_size_give_the_same_pairs(texts, n):
    """A machine's memory holds a part of the tokens: here a part is one text, or two tokens."""
    whole = pairs(token_sets(texts, n), 0.5)
    with patch.multiple(joins, _TEXTS=1, _TOKENS=2, _HELD=0, _WORDS=3):
        assert pairs(token_sets(texts, n), 0.5) == whole


def pairs(sets, least):
    """(text, a text added before it) -> similarity."""
    neighbours = Neighbours(sets, least)
    found = {}
    for text in range(len(sets)):
        found |= {(other, text): s for other, s in neighbours.similar(text)}
        neighbours.add(text)
    return found


@pytest.mark.parametrize("least", [0.2, 0.5, 2 / 3, 0.8, 1.0])
@given(texts=TEXTS, n=st.integers(1, 3))
def test_the_join_finds_every_pair_and_no_other(least, texts, n):
    grams = [plain_grams(text, Lengths.fine(n)) for text in texts]
    found = pairs(token_sets(texts, n), least)
    wanted = {}
    for one, two in combinations(range(len(texts)), 2):
        if grams[one] and grams[two]:
            wanted[one, two] = similarity(grams[one], grams[two])
    close = {pair: s for pair, s in wanted.items() if s >= least - 1e-9}
    assert found == pytest.approx(close)


def test_a_full_disk_is_told_with_the_folder_of_temporary_files(monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(
        OSError, match=r"No space left.*which TMPDIR names"
    ) as e:
        token_sets(["one two three four"], 3)
    assert e.value.errno == errno.ENOSPC
    assert tempfile.gettempdir() in str(e.value)
