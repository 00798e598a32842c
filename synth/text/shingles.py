"""Texts as sets of hashed word n-grams, and an index that finds all sets of a given Jaccard
similarity, exactly.

The join is the prefix filter of Bayardo, Ma and Srikant ("Scaling Up All Pairs Similarity Search",
WWW 2007): with tokens ordered from rare to frequent, two sets of Jaccard similarity t share a token
among the first
|x| - ceil(t |x|) + 1 of each. Candidates are verified, so recall and precision are 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from synth.text.words import kind, words, worth

Array = np.ndarray[Any, Any]
# Odd 64-bit constants: one multiplication a place in the n-gram, one to mix.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Shingles:
    """Sets of all texts in one array: the set of text i is `tokens[starts[i]:starts[i + 1]]`,
    sorted, without doubles.
    """

    tokens: Array
    starts: Array

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, text: int) -> Array:
        """The tokens of one text."""
        return self.tokens[self.starts[text] : self.starts[text + 1]]


class Lengths(NamedTuple):
    """Words of an n-gram, by the `kind` of its first word."""

    spaced: int
    dense: int
    spelt: int
    kana: int

    @classmethod
    def fine(cls, n: int) -> Lengths:
        """For similarity: fewer where a word is one character.

        One changed character of 20 then leaves a Jaccard similarity of 17 / 21 for n = 3.
        """
        dense = max(1, 2 * n // 3)
        return cls(n, dense, dense, dense)

    @classmethod
    def long(cls, n: int) -> Lengths:
        """For runs that no chance repeats: worth n words in every script."""
        return cls(*worth(n))


class Vocabulary:
    """Word -> number, the same for all texts that are compared."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def lengths(self, ids: Array, lengths: Lengths) -> Array | int:
        """Words of the n-gram that begins at each word: one number where all words are spaced."""
        kinds = np.fromiter(
            map(kind, self._numbers), np.int8, len(self._numbers)
        )
        if kinds.any():
            return np.array(lengths, np.int64)[kinds[ids - np.uint64(1)]]
        return lengths.spaced

    def ids(self, texts: Iterable[str]) -> tuple[Array, Array]:
        """(all word numbers one after the other, where each text starts and the last ends)."""
        numbers = self._numbers
        flat = array("Q")
        starts = array("q", [0])
        for text in texts:
            flat.extend(
                [
                    numbers.setdefault(word, len(numbers) + 1)
                    for word in words(text)
                ]
            )
            starts.append(len(flat))
        return np.frombuffer(flat, dtype=np.uint64) if flat else np.zeros(
            0, np.uint64
        ), np.frombuffer(starts, dtype=np.int64)


def ngrams(ids: Array, starts: Array, n: int | Array) -> tuple[Array, Array]:
    """(hash of every n-gram, text it stands in), in order; a text of 1 to n - 1 words is one
    n-gram.

    Args:
        ids: of the words of all texts.
        starts: where each text starts, and where the last one ends.
        n: words of an n-gram; [len(ids)] of the one that begins at each word.
    """
    if not isinstance(n, int):
        return _uneven(ids, starts, n)
    lengths = np.diff(starts)
    owners = np.repeat(
        np.arange(len(lengths), dtype=np.int32), np.maximum(lengths - n + 1, 0)
    )
    hashes = _hash(ids, n)
    if len(hashes):
        inside = np.repeat(starts[1:] - n, lengths)[: len(hashes)] >= np.arange(
            len(hashes), dtype=np.int64
        )
        hashes = hashes[inside]
    short = np.flatnonzero((lengths > 0) & (lengths < n))
    if not len(short):
        return hashes, owners
    more = np.array(
        [
            _hash(ids[starts[text] : starts[text + 1]], int(lengths[text]))[0]
            for text in short
        ],
        dtype=np.uint64,
    )
    order = np.argsort(
        np.concatenate([owners, short.astype(np.int32)]), kind="stable"
    )
    return np.concatenate([hashes, more])[order], np.concatenate(
        [owners, short.astype(np.int32)]
    )[order]


def _uneven(ids: Array, starts: Array, lengths: Array) -> tuple[Array, Array]:
    """N-grams whose lengths differ; what they leave at a text's end is in one more, back to
    front.
    """
    sizes = np.diff(starts)
    owners = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    firsts = np.arange(len(ids), dtype=np.int64)
    ends = firsts + lengths
    inside = ends <= starts[1:][owners]
    covered = starts[:-1].copy()
    np.maximum.at(covered, owners[inside], ends[inside])
    short = np.flatnonzero(covered < starts[1:])
    # The last n-gram of such a text: as long as its last word's kind has it, or the whole text.
    last = np.maximum(
        starts[1:][short] - lengths[starts[1:][short] - 1], starts[:-1][short]
    )
    firsts = np.concatenate([firsts[inside], last])
    spans = np.concatenate([lengths[inside], starts[1:][short] - last])
    owners = np.concatenate([owners[inside], short.astype(np.int32)])
    hashes = np.zeros(len(firsts), np.uint64)
    for length in np.unique(spans).tolist():
        which = spans == length
        hashes[which] = _hash(ids, length)[firsts[which]]
    order = np.argsort(owners, kind="stable")
    return hashes[order], owners[order]


def _hash(ids: Array, n: int) -> Array:
    """64-bit hashes of all runs of n numbers: multiply, rotate, mix."""
    count = max(0, len(ids) - n + 1)
    hashes = np.full(count, n * int(_MIX) % 2**64, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(n):
            hashes ^= ids[offset : offset + count]
            hashes *= _FACTOR
            hashes ^= hashes >> np.uint64(29)
        hashes *= _MIX
    return hashes


def shingle(texts: Sequence[str], n: int) -> Shingles:
    """The sets of word n-grams of texts, tokens numbered from the rarest to the most frequent."""
    vocabulary = Vocabulary()
    ids, places = vocabulary.ids(texts)
    hashes, owners = ngrams(
        ids, places, vocabulary.lengths(ids, Lengths.fine(n))
    )
    order = np.argsort(hashes)
    ranks = _ranks(hashes[order])
    # One sortable number a token: text in the high half, rank in the low one.
    packed = (owners[order].astype(np.int64) << 32) | ranks
    packed.sort()
    first = np.ones(len(packed), bool)
    np.not_equal(packed[1:], packed[:-1], out=first[1:])
    packed = packed[first]
    starts = np.searchsorted(
        packed, np.arange(len(texts) + 1, dtype=np.int64) << 32
    )
    return Shingles((packed & 0xFFFFFFFF).astype(np.int32), starts)


def _ranks(sorted_hashes: Array) -> Array:
    """For sorted hashes, the rank of each by how often it stands there: 0 is the rarest."""
    first = np.ones(len(sorted_hashes), bool)
    np.not_equal(sorted_hashes[1:], sorted_hashes[:-1], out=first[1:])
    counts = np.diff(np.append(np.flatnonzero(first), len(first)))
    ranks = np.empty(len(counts), np.int32)
    ranks[np.argsort(counts, kind="stable")] = np.arange(
        len(counts), dtype=np.int32
    )
    return np.repeat(ranks, counts)


class Neighbours:
    """Sets that were added, asked for those of at least a Jaccard similarity."""

    def __init__(self, sets: Shingles, similarity: float) -> None:
        self.sets = sets
        self.similarity = similarity
        self._lists: dict[int, list[int]] = {}
        self._sizes = np.diff(sets.starts).tolist()
        shared = (
            np.bincount(sets.tokens) > 1
            if len(sets.tokens)
            else np.zeros(0, bool)
        )
        self._shared = shared[sets.tokens]

    def _prefix(self, text: int) -> list[int]:
        """Rare tokens one of which any similar set shares; those that stand in no other text are
        left out.
        """
        start = self.sets.starts[text]
        size = self._sizes[text]
        if not size:
            return []
        end = start + size - ceil(self.similarity * size - 1e-9) + 1
        return list(
            self.sets.tokens[start:end][self._shared[start:end]].tolist()
        )

    def add(self, text: int) -> None:
        """From now on this text is found."""
        for token in self._prefix(text):
            self._lists.setdefault(token, []).append(text)

    def similar(self, text: int) -> Iterator[tuple[int, float]]:
        """(text, similarity) of every added text that is similar enough."""
        size = self._sizes[text]
        least = self.similarity
        seen = set[int]()
        for token in self._prefix(text):
            seen.update(self._lists.get(token, ()))
        mine: set[int] | None = None
        for other in sorted(seen):
            if (
                not least * size - 1e-9
                <= self._sizes[other]
                <= size / least + 1e-9
            ):
                continue
            mine = set(self.sets.of(text).tolist()) if mine is None else mine
            common = len(mine.intersection(self.sets.of(other).tolist()))
            similarity = common / (size + self._sizes[other] - common)
            if similarity >= least - 1e-9:
                yield other, similarity
