"""Top-k entries of a teacher, packed: token ids exactly, log-probabilities in 8 bits, their sum in
32.

Ids of a token, sorted, are split: low bits stand as they are, high bits as a row of ones and zeros
of fixed length (Elias-Fano). A log-probability is coded by the cube root of its probability
relative to the token's largest, which errs least where mass lies; the second largest gets 8 bits
more, and all are scaled to the mass that they have together, which is kept as it is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import floor, log2
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetune.core.arrays import Codes, TopIdArray, TopLogArray

# Cube roots are multiples of 1 / 255; code 0 stands for 18.7 nats and more below the largest, and
# is read as not known.
_STEPS = 255.0
# A step of the second largest root, cut finer.
_FINER = np.float32(254)
_LEAST = np.finfo(np.float64).min

Nats = NDArray[np.float64]
Columns = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Layout:
    """Sizes of a token's parts.

    Args:
        vocabulary: ids are below it.
        k: entries of a token.
    """

    vocabulary: int
    k: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.vocabulary:
            raise ValueError(
                f"k={self.k} of a vocabulary of {self.vocabulary}; use 1 to all of it"
            )

    @property
    def low(self) -> int:
        """Bits of an id that stand as they are."""
        share = self.vocabulary / self.k
        return max(0, floor(log2(share)))

    @property
    def high(self) -> int:
        """Bits of the row of ones and zeros that holds the high parts of all ids of a token."""
        largest = self.vocabulary - 1
        return self.k + (largest >> self.low)


def _taken(table: NDArray[Number], columns: Columns) -> NDArray[Number]:
    """Of each row of a table the columns that its row of the other names."""
    return np.take_along_axis(table, columns, 1)


def pack(layout: Layout, ids: TopIdArray, logs: TopLogArray) -> bytes:
    """[N, k] token ids (distinct in a row, any order) and their natural log-probabilities as bytes;
    -inf throughout says nothing.
    """
    order = np.argsort(ids, axis=1)
    sorted_ids = _taken(ids, order)
    sorted_logs = _taken(logs, order)
    return b"".join(
        [
            *_packed_logs(sorted_logs.astype(np.float64)),
            *_low_bits(layout, sorted_ids),
            _high_bits(layout, sorted_ids),
        ]
    )


def _packed_logs(logs: Nats) -> list[bytes]:
    """Codes, the mass of each token, and what its second largest root is more than its code."""
    largest = logs.max(axis=1, keepdims=True)
    # Rows of which nothing is known are -inf throughout.
    largest = np.maximum(largest, _LEAST)
    below = logs - largest
    roots = _STEPS * np.exp(below / 3.0)
    rounded = np.rint(roots)
    codes = rounded.astype(np.uint8)
    probabilities = np.exp(logs)
    # A token of which nothing is known has the mass 0.
    with np.errstate(divide="ignore"):
        total = probabilities.sum(axis=1)
        mass = np.log(total)
    # -0.5 to 0.5 of a step.
    rests = roots - rounded
    second = _second(codes)
    rest = _taken(rests, second)
    finer = np.rint(rest * _FINER)
    return [
        _small(codes),
        mass.astype("<f4").tobytes(),
        finer.astype(np.int8).tobytes(),
    ]


def unpack(
    layout: Layout, count: int, data: bytes
) -> tuple[TopIdArray, TopLogArray]:
    """(ids [N, k] int64, log-probabilities [N, k] fp32), ids ascending, of so many tokens; -inf for
    what is not known.
    """
    cursor = _Cursor(memoryview(data))
    head = cursor.take(4)
    size = int.from_bytes(head, "little")
    packed = cursor.take(size)
    entries = count * layout.k
    raw = zlib.decompress(packed) if size < entries else packed
    codes = np.frombuffer(raw, np.uint8)
    masses = cursor.take(4 * count)
    finer = cursor.small(count).view(np.int8)
    logs = _logs(
        codes.reshape(count, layout.k),
        mass=np.frombuffer(masses, "<f4")[:, None],
        finer=finer[:, None].astype(np.float32) / _FINER,
    )
    return _ids(layout, count, cursor), logs


@dataclass
class _Cursor:
    """Reads packed parts one after the other."""

    view: memoryview
    position: int = 0

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        start = self.position
        self.position += size
        return self.view[start : self.position]

    def small(self, count: int) -> Bytes:
        """The next bytes as numbers."""
        part = self.take(count)
        return np.frombuffer(part, np.uint8)

    def bits(self, count: int) -> Bytes:
        """So many bits; the last byte may be filled up."""
        whole_bytes = -(-count // 8)
        filled = self.small(whole_bytes)
        return np.unpackbits(filled, count=count)


def _logs(
    codes: Codes, *, mass: TopLogArray, finer: TopLogArray
) -> TopLogArray:
    """[N, k] log-probabilities from codes.

    Args:
        codes: [N, k].
        mass: [N, 1] ln of the sum of a token's probabilities.
        finer: [N, 1] what its second largest root is more than its code.
    """
    roots = codes.astype(np.float32)
    second = _second(codes)
    exact = _taken(roots, second) + finer
    np.put_along_axis(roots, second, exact, 1)
    shares = (roots / _STEPS) ** 3
    # A token of which nothing is known has the mass 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = shares.sum(axis=1, keepdims=True)
        scale = mass - np.log(sums)
        logs: TopLogArray = np.log(shares) + scale
    logs[shares <= 0] = -np.inf
    return logs


def _second(codes: Codes) -> Columns:
    """[N, 1] places of the second largest code (of the only one, where there is one); of equal ones
    the first counts as larger.
    """
    width = codes.shape[1]
    positions = np.arange(width, dtype=np.int32)
    # One number a code: the larger codes first, of equal ones the earlier.
    steps = codes.astype(np.int32)
    below = 255 - steps
    ranks = below * width + positions
    rank = min(1, width - 1)
    ordered = np.partition(ranks, rank, axis=1)
    second = ordered[:, [rank]] % width
    columns: Columns = second.astype(np.int64)
    return columns


def _small(codes: Codes) -> bytes:
    """Codes with their length before them; compressed where that makes them shorter."""
    raw = codes.tobytes()
    packed = zlib.compress(raw, 6)
    shorter = packed if len(packed) < len(raw) else raw
    size = len(shorter)
    return size.to_bytes(4, "little") + shorter


def _low_bits(layout: Layout, ids: TopIdArray) -> Iterator[bytes]:
    """Whole bytes of the low parts first, then what is left of their bits."""
    low = ids % (1 << layout.low)
    whole_bytes, rest = divmod(layout.low, 8)
    for _ in range(whole_bytes):
        lowest = low % 256
        yield lowest.astype(np.uint8).tobytes()
        low = low >> 8
    if rest:
        shifted = low[:, :, None] >> np.arange(rest)
        bits = shifted % 2
        packed = np.packbits(bits.astype(bool))
        yield packed.tobytes()


def _high_bits(layout: Layout, ids: TopIdArray) -> bytes:
    """A row of ones and zeros a token: the n-th one stands at the n-th id's high part, plus n."""
    shape = (len(ids), layout.high)
    rows = np.zeros(shape, np.uint8)
    high = ids >> layout.low
    ones = high + np.arange(layout.k)
    np.put_along_axis(rows, ones, 1, 1)
    packed = np.packbits(rows)
    return packed.tobytes()


def _ids(layout: Layout, count: int, cursor: _Cursor) -> TopIdArray:
    """[N, k] token ids, ascending."""
    shape = (count, layout.k)
    entries = count * layout.k
    ids: TopIdArray = np.zeros(shape, np.int64)
    # Whole bytes of the low parts.
    whole_bytes, rest = divmod(layout.low, 8)
    for byte in range(whole_bytes):
        part = cursor.small(entries)
        table = part.reshape(shape).astype(np.int64)
        ids |= table << 8 * byte
    # What is left of their bits.
    if rest:
        bits = cursor.bits(entries * rest)
        powers = 1 << np.arange(rest)
        low = bits.reshape(-1, rest) @ powers
        ids |= low.reshape(shape) << 8 * whole_bytes
    # The n-th one of a token's row stands at the high part of its n-th id, plus n.
    ones = cursor.bits(count * layout.high)
    positions = np.flatnonzero(ones).reshape(shape)
    row_starts = np.arange(count) * layout.high
    in_row = positions - row_starts[:, None]
    high = in_row - np.arange(layout.k)
    ids |= high << layout.low
    return ids
