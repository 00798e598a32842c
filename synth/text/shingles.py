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
# Hash of every n-gram, and the text that it stands in.
Grams = tuple[Array, Array]
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
        start = self.starts[text]
        end = self.starts[text + 1]
        return self.tokens[start:end]


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
        characters = max(1, 2 * n // 3)
        return cls(
            spaced=n,
            dense=characters,
            spelt=characters,
            kana=characters,
        )

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
        words_so_far = len(self._numbers)
        kinds = np.fromiter(map(kind, self._numbers), np.int8, words_so_far)
        if not kinds.any():
            return lengths.spaced
        # Words are numbered from 1.
        kinds_of_words = kinds[ids - np.uint64(1)]
        by_kind = np.array(lengths, np.int64)
        return by_kind[kinds_of_words]

    def ids(self, texts: Iterable[str]) -> tuple[Array, Array]:
        """(all word numbers one after the other, where each text starts and the last ends)."""
        numbers = self._numbers
        flat = array("Q")
        starts = array("q", [0])
        for text in texts:
            ids_of_text = [
                numbers.setdefault(word, len(numbers) + 1)
                for word in words(text)
            ]
            flat.extend(ids_of_text)
            starts.append(len(flat))
        ids = np.asarray(flat, dtype=np.uint64)
        return ids, np.asarray(starts, dtype=np.int64)


def ngrams(ids: Array, starts: Array, n: int | Array) -> Grams:
    """(hash of every n-gram, text it stands in), in order; a text of 1 to n - 1 words is one
    n-gram.

    Args:
        ids: of the words of all texts.
        starts: where each text starts, and where the last one ends.
        n: words of an n-gram; [len(ids)] of the one that begins at each word.
    """
    if not isinstance(n, int):
        return _uneven(ids, starts, n)
    ends = starts[1:]
    lengths = np.diff(starts)
    texts = np.arange(len(lengths), dtype=np.int32)
    counts = np.maximum(lengths - n + 1, 0)
    owners = np.repeat(texts, counts)
    hashes = _hash(ids, n)
    if len(hashes):
        # Those that run over the end of their text are none.
        positions = np.arange(len(hashes), dtype=np.int64)
        last_starts = np.repeat(ends - n, lengths)
        last_starts = last_starts[: len(hashes)]
        inside = positions <= last_starts
        hashes = hashes[inside]
    is_short = lengths < n
    is_short &= lengths > 0
    short = np.flatnonzero(is_short)
    if not len(short):
        return hashes, owners
    whole = [_whole(ids[starts[text] : ends[text]]) for text in short]
    whole_hashes = np.array(whole, dtype=np.uint64)
    short_owners = short.astype(np.int32)
    hashes = np.concatenate([hashes, whole_hashes])
    owners = np.concatenate([owners, short_owners])
    return _by_owner(hashes, owners)


def _whole(ids: Array) -> np.uint64:
    """The hash of all these words together."""
    hash_: np.uint64 = _hash(ids, len(ids))[0]
    return hash_


def _by_owner(hashes: Array, owners: Array) -> Grams:
    """In the order of the texts; those of one text as they stand."""
    order = np.argsort(owners, kind="stable")
    return hashes[order], owners[order]


def _uneven(ids: Array, starts: Array, lengths: Array) -> Grams:
    """N-grams whose lengths differ; what they leave at a text's end is in one more, back to
    front.
    """
    text_starts = starts[:-1]
    text_ends = starts[1:]
    sizes = text_ends - text_starts
    texts = np.arange(len(sizes), dtype=np.int32)
    owners = np.repeat(texts, sizes)
    # Of the n-gram that begins at each word: its end, and whether its text goes that far.
    firsts = np.arange(len(ids), dtype=np.int64)
    ends = firsts + lengths
    inside = ends <= text_ends[owners]
    firsts = firsts[inside]
    ends = ends[inside]
    owners = owners[inside]
    # How far the n-grams of each text reach.
    covered = text_starts.copy()
    np.maximum.at(covered, owners, ends)
    short = np.flatnonzero(covered < text_ends)
    # The last n-gram of such a text: as long as its last word's kind has it, or the whole text.
    last_ends = text_ends[short]
    last_lengths = lengths[last_ends - 1]
    last_firsts = np.maximum(last_ends - last_lengths, text_starts[short])
    firsts = np.concatenate([firsts, last_firsts])
    ends = np.concatenate([ends, last_ends])
    last_owners = short.astype(np.int32)
    owners = np.concatenate([owners, last_owners])
    spans = ends - firsts
    hashes = np.zeros(len(firsts), np.uint64)
    for length in np.unique(spans).tolist():
        same = spans == length
        hashes_of_length = _hash(ids, length)
        hashes[same] = hashes_of_length[firsts[same]]
    return _by_owner(hashes, owners)


def _hash(ids: Array, n: int) -> Array:
    """64-bit hashes of all runs of n numbers: multiply, rotate, mix."""
    count = len(ids) - n + 1
    count = max(0, count)
    seed = n * int(_MIX) % 2**64
    hashes = np.full(count, seed, dtype=np.uint64)
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
    fine = Lengths.fine(n)
    lengths = vocabulary.lengths(ids, fine)
    hashes, owners = ngrams(ids, places, lengths)
    order = np.argsort(hashes)
    hashes = hashes[order]
    ranks = _ranks(hashes)
    # One sortable number a token: text in the high half, rank in the low one.
    owners = owners[order]
    packed = owners.astype(np.int64) << 32
    packed |= ranks
    packed.sort()
    is_new = _changes(packed)
    packed = packed[is_new]
    numbers = np.arange(len(texts) + 1, dtype=np.int64)
    starts = np.searchsorted(packed, numbers << 32)
    packed &= 0xFFFFFFFF
    tokens = packed.astype(np.int32)
    return Shingles(tokens, starts)


def _ranks(sorted_hashes: Array) -> Array:
    """For sorted hashes, the rank of each by how often it stands there: 0 is the rarest."""
    first = _changes(sorted_hashes)
    starts = np.flatnonzero(first)
    borders = np.append(starts, len(first))
    counts = np.diff(borders)
    order = np.argsort(counts, kind="stable")
    ranks = np.empty(len(counts), np.int32)
    ranks[order] = np.arange(len(counts), dtype=np.int32)
    return np.repeat(ranks, counts)


def _changes(values: Array) -> Array:
    """Whether each of the sorted values is another one than that before it."""
    changes = np.ones(len(values), bool)
    earlier = values[:-1]
    later = values[1:]
    np.not_equal(earlier, later, out=changes[1:])
    return changes


class Neighbours:
    """Sets that were added, asked for those of at least a Jaccard similarity."""

    def __init__(self, sets: Shingles, similarity: float) -> None:
        self.sets = sets
        self.similarity = similarity
        self._lists: dict[int, list[int]] = {}
        sizes = np.diff(sets.starts)
        self._sizes = sizes.tolist()
        # Whether each token stands in more than one text.
        counts = np.bincount(sets.tokens, minlength=1)
        is_shared = counts > 1
        self._shared = is_shared[sets.tokens]

    def _prefix(self, text: int) -> list[int]:
        """Rare tokens one of which any similar set shares; those that stand in no other text are
        left out.
        """
        start = self.sets.starts[text]
        size = self._sizes[text]
        if not size:
            return []
        least_shared = ceil(self.similarity * size - 1e-9)
        end = start + size - least_shared + 1
        tokens = self.sets.tokens[start:end]
        shared = self._shared[start:end]
        return list(tokens[shared].tolist())

    def add(self, text: int) -> None:
        """From now on this text is found."""
        for token in self._prefix(text):
            texts = self._lists.setdefault(token, [])
            texts.append(text)

    def similar(self, text: int) -> Iterator[tuple[int, float]]:
        """(text, similarity) of every added text that is similar enough."""
        candidates = set[int]()
        for token in self._prefix(text):
            candidates.update(self._lists.get(token, ()))
        if not candidates:
            return
        # Sets of other sizes cannot be similar enough; 1e-9 is what rounding takes.
        sizes = self._sizes
        size = sizes[text]
        least = self.similarity
        smallest = least * size - 1e-9
        largest = size / least + 1e-9
        mine: set[int] | None = None
        for other in sorted(candidates):
            other_size = sizes[other]
            if not smallest <= other_size <= largest:
                continue
            if mine is None:
                mine = set(self.sets.of(text).tolist())
            theirs = self.sets.of(other).tolist()
            common = len(mine.intersection(theirs))
            similarity = common / (size + other_size - common)
            if similarity >= least - 1e-9:
                yield other, similarity
