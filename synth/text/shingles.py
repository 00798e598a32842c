"""Word n-grams of texts in any script, hashed."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from hashlib import blake2b
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from synth.text.words import kind, words, worth

Array = np.ndarray[Any, Any]
# Hash of every n-gram, and the text that it stands in.
Grams = tuple[Array, Array]
# Odd 64-bit constants: one multiplication a place in the n-gram, one to mix.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)

_HASH_BYTES = 8


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
    """Word -> number, the same for all texts that go through this object; and word -> hash, the
    same everywhere.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = defaultdict(count(1).__next__)
        # Of each word in the order of the numbers, as far as somebody asked.
        self._kinds = bytearray()
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self._numbers)

    def lengths(self, ids: Array, lengths: Lengths) -> Array | int:
        """Words of the n-gram that begins at each word: one number where all words are spaced."""
        known = len(self._kinds)
        for word in islice(self._numbers, known, None):
            kind_of_word = kind(word)
            self._kinds.append(kind_of_word)
        if not any(self._kinds):
            return lengths.spaced
        kinds = np.frombuffer(bytes(self._kinds), np.int8)
        # Words are numbered from 1.
        places = ids - np.uint64(1)
        kinds_of_words = kinds[places]
        by_kind = np.array(lengths, np.int64)
        return by_kind[kinds_of_words]

    def hashes(self, ids: Array) -> Array:
        """A 64-bit hash of each word, by its number."""
        hashed = len(self._digests) // _HASH_BYTES
        for word in islice(self._numbers, hashed, None):
            content = word.encode("utf-8", "surrogatepass")
            digest = blake2b(content, digest_size=_HASH_BYTES)
            self._digests += digest.digest()
        hashes = np.frombuffer(bytes(self._digests), "<u8")
        # Words are numbered from 1.
        places = ids - np.uint64(1)
        hashes_of_words: Array = hashes[places]
        return hashes_of_words.astype(np.uint64)

    def ids(self, texts: Iterable[str]) -> tuple[Array, Array]:
        """(all word numbers one after the other, where each text starts and the last ends)."""
        numbers = self._numbers
        flat = array("Q")
        starts = array("q", [0])
        for text in texts:
            flat.extend([numbers[word] for word in words(text)])
            starts.append(len(flat))
        ids = np.asarray(flat, dtype=np.uint64)
        places = np.asarray(starts, dtype=np.int64)
        return ids, places


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
