"""Sets of hashed n-grams on the disk, and an index that finds all sets of a given Jaccard
similarity, exactly.

The join is the prefix filter of Bayardo, Ma and Srikant ("Scaling Up All Pairs Similarity Search",
WWW 2007): where all sets have their tokens in one order, two sets of Jaccard similarity t share a
token among the first |x| - ceil(t |x|) + 1 of each. Any order is right, and one from rare to
frequent gives few candidates. Candidates are verified, so recall and precision are 1.

Tokens lie in a temporary file (8 bytes each, in the folder that TMPDIR names). In memory are some
60 bytes a text, and 12 bytes for each token of a prefix that another prefix has too.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np

from synth.text.shingles import Lengths, Vocabulary, ngrams

Array = np.ndarray[Any, Any]
# Texts that are cut into words at once, and tokens that are looked at at once (some 100 MB each).
_TEXTS = 20_000
_TOKENS = 1 << 21
# Words of a vocabulary: some 200 MB.
_WORDS = 1_000_000
# Tokens that are held beside the file: 256 MB.
_HELD = 1 << 25
# Spreads the numbers of texts over 64 bits.
_ODD = np.uint64(0x9E3779B97F4A7C15)
# Cells that count tokens: 4 bytes each, 512 MB at most.
_MOST_CELLS = 1 << 27
_TOKEN_BYTES = 8


class TokenSets:
    """Sets of tokens, one a text, in a temporary file that ends with this object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self._starts = array("q", [0])
        self._held: Array | None = None

    def __len__(self) -> int:
        bounds = len(self._starts)
        return bounds - 1

    @property
    def starts(self) -> Array:
        """[N + 1] where the set of each text starts in the file, in tokens."""
        return np.frombuffer(self._starts, np.int64)

    def add(self, tokens: Array, sizes: Array) -> None:
        """Sets of more texts.

        Args:
            tokens: uint64, those of one text after those of another.
            sizes: how many each text has.
        """
        _write(tokens, self._file)
        ends = np.cumsum(sizes, dtype=np.int64)
        ends += self._starts[-1]
        self._starts.frombytes(ends.tobytes())

    def seal(self) -> None:
        """Ends the writing; a file that is small is read once."""
        if self._starts[-1] <= _HELD:
            self._file.seek(0)
            self._held = np.fromfile(self._file, np.uint64)

    def of(self, text: int) -> Array:
        """The tokens of one text."""
        start = self._starts[text]
        end = self._starts[text + 1]
        return self.between(start, end)

    def between(self, start: int, end: int) -> Array:
        """Tokens of the file from one place to another."""
        if self._held is not None:
            return self._held[start:end]
        count = end - start
        content = os.pread(
            self._file.fileno(),
            count * _TOKEN_BYTES,
            start * _TOKEN_BYTES,
        )
        return np.frombuffer(content, np.uint64)

    def parts(self) -> Iterator[tuple[int, int]]:
        """(first text, text behind the last) of parts of at most 2 M tokens, or of one text."""
        first = 0
        starts = self.starts
        while first < len(self):
            most = starts[first] + _TOKENS
            place = np.searchsorted(starts, most, side="right")
            end = max(int(place) - 1, first + 1)
            yield first, end
            first = end


def token_sets(texts: Iterable[str], n: int) -> TokenSets:
    """The sets of word n-grams of texts, which are read once."""
    sets = TokenSets()
    vocabulary = Vocabulary()
    waiting = iter(texts)
    while part := list(islice(waiting, _TEXTS)):
        # None outgrows the memory: a word's hash is the same in all.
        if len(vocabulary) > _WORDS:
            vocabulary = Vocabulary()
        ids, places = vocabulary.ids(part)
        lengths = vocabulary.lengths(ids, Lengths.fine(n))
        hashes = vocabulary.hashes(ids)
        tokens, owners = ngrams(hashes, places, lengths)
        # A token stands once in each text; the same token in other texts is another pair.
        pairs = owners.astype(np.uint64) * _ODD
        pairs ^= tokens
        _, firsts = np.unique(pairs, return_index=True)
        firsts.sort()
        tokens = tokens[firsts]
        owners = owners[firsts]
        sizes = np.bincount(owners, minlength=len(part))
        sets.add(tokens, sizes)
    sets.seal()
    return sets


class _Rarity:
    """About how often each token stands in the sets: never fewer than it does."""

    def __init__(self, sets: TokenSets) -> None:
        tokens = int(sets.starts[-1])
        count = min(_MOST_CELLS, 2 << tokens.bit_length())
        self._mask = np.uint64(count - 1)
        self._counts = np.zeros(count, np.uint32)
        starts = sets.starts
        one = np.uint32(1)
        for first, end in sets.parts():
            start = starts[first]
            part = sets.between(start, starts[end])
            cells = part & self._mask
            np.add.at(self._counts, cells, one)

    def of(self, tokens: Array) -> Array:
        """The count of each token."""
        cells = tokens & self._mask
        counts: Array = self._counts[cells]
        return counts


class Neighbours:
    """Sets that were added, asked for those of at least a Jaccard similarity.

    Args:
        sets: of all texts that will be added or asked about.
        similarity: above 0, at most 1.
    """

    def __init__(self, sets: TokenSets, similarity: float) -> None:
        self.sets = sets
        self.similarity = similarity
        sizes = np.diff(sets.starts)
        self._sizes = _as_array("i", sizes)
        self._prefixes, self._prefix_starts = _prefixes(sets, similarity)
        # The texts of each token lie together, in the places that all texts with it would take.
        prefixes = np.frombuffer(self._prefixes, np.int32)
        counts = np.bincount(prefixes)
        firsts = np.cumsum(counts)
        firsts -= counts
        self._firsts = _as_array("q", firsts)
        self._ends = _as_array("q", firsts)
        places = np.zeros(len(prefixes), np.int32)
        self._texts = _as_array("i", places)

    def _prefix(self, text: int) -> Sequence[int]:
        """Numbers of the rare tokens one of which any similar set shares; those that stand in no
        other prefix are left out.
        """
        start = self._prefix_starts[text]
        end = self._prefix_starts[text + 1]
        return self._prefixes[start:end]

    def add(self, text: int) -> None:
        """From now on this text is found; it is added once."""
        for token in self._prefix(text):
            end = self._ends[token]
            self._texts[end] = text
            self._ends[token] = end + 1

    def similar(self, text: int) -> Iterator[tuple[int, float]]:
        """(text, similarity) of every added text that is similar enough, in their order."""
        candidates = set[int]()
        for token in self._prefix(text):
            first = self._firsts[token]
            end = self._ends[token]
            candidates.update(self._texts[first:end])
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


def _as_array(kind: str, values: Array) -> array[int]:
    """Numbers as an array of Python, whose single elements are read faster."""
    numbers = array(kind)
    numbers.frombytes(values.astype(kind).tobytes())
    return numbers


def _prefixes(
    sets: TokenSets, similarity: float
) -> tuple[array[int], array[int]]:
    """(numbers of the tokens of all prefixes, where each text's start): tokens that only one prefix
    has are left out.
    """
    with tempfile.TemporaryFile() as file:
        sizes = _write_prefixes(sets, similarity, file)
        total = int(sizes.sum())
        numbers = np.full(total, -1, np.int32)
        # Tokens are numbered share by share of the hashes, so that each share fits the memory.
        shares = total // _TOKENS + 1
        known = 0
        for share in range(shares):
            places, tokens = _share_of(file, share, shares)
            _, kinds, counts = np.unique(
                tokens,
                return_inverse=True,
                return_counts=True,
            )
            shared = np.flatnonzero(counts > 1)
            ranks = np.full(len(counts), -1, np.int32)
            ranks[shared] = np.arange(len(shared))
            ranks[shared] += known
            known += len(shared)
            numbers[places] = ranks[kinds]
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    kept = np.flatnonzero(numbers >= 0)
    numbers = numbers[kept]
    starts = np.searchsorted(kept, starts)
    return _as_array("i", numbers), _as_array("q", starts)


def _write_prefixes(
    sets: TokenSets, similarity: float, file: IO[bytes]
) -> Array:
    """Writes each text's rare tokens one of which any similar set shares; returns how many."""
    rarity = _Rarity(sets)
    starts = sets.starts
    sizes = np.diff(starts)
    # |x| - ceil(t |x|) + 1; 1e-9 is what rounding takes.
    lengths = np.ceil(similarity * sizes - 1e-9)
    lengths = sizes - lengths.astype(np.int64) + 1
    lengths[sizes == 0] = 0
    for first, end in sets.parts():
        start = starts[first]
        tokens = sets.between(start, starts[end])
        own_sizes = sizes[first:end]
        own_lengths = lengths[first:end]
        owners = np.repeat(np.arange(end - first), own_sizes)
        # By text, then from rare to frequent; the token decides between equal counts.
        keys = owners.astype(np.uint64)
        keys <<= np.uint64(32)
        keys |= rarity.of(tokens)
        order = np.lexsort((tokens, keys))
        tokens = tokens[order]
        own_starts = starts[first:end] - start
        ranks = np.arange(len(tokens))
        ranks -= np.repeat(own_starts, own_sizes)
        is_prefix = ranks < np.repeat(own_lengths, own_sizes)
        _write(tokens[is_prefix], file)
    return lengths


def _write(tokens: Array, file: IO[bytes]) -> None:
    """Writes tokens.

    Raises:
        OSError: the disk is full, with the folder that TMPDIR names.
    """
    try:
        file.write(tokens.tobytes())
        file.flush()
    except OSError as error:
        folder = tempfile.gettempdir()
        said = f"{error.strerror} in {folder}, which TMPDIR names,"
        raise OSError(error.errno, said) from error


def _share_of(file: IO[bytes], share: int, shares: int) -> tuple[Array, Array]:
    """(place, token) of a file's tokens whose hash is in this share."""
    file.seek(0)
    places = [np.zeros(0, np.int64)]
    tokens = [np.zeros(0, np.uint64)]
    start = 0
    while content := file.read(_TOKENS * _TOKEN_BYTES):
        part = np.frombuffer(content, np.uint64)
        shares_of_tokens = part % np.uint64(shares)
        is_inside = shares_of_tokens == share
        inside = np.flatnonzero(is_inside)
        places.append(inside + start)
        tokens.append(part[inside])
        start += len(part)
    return np.concatenate(places), np.concatenate(tokens)
