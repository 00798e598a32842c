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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.core.arrays import Codes, TopIdArray, TopLogArray

# Cube roots are multiples of 1 / 255; code 0 stands for 18.7 nats and more below the largest, and
# is read as not known.
_STEPS = 255.0

Number = TypeVar("Number", bound=np.generic)
Column = TypeVar("Column", np.int32, np.int64)


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
        return max(0, floor(log2(self.vocabulary / self.k)))

    @property
    def high(self) -> int:
        """Bits of the row of ones and zeros that holds the high parts of all ids of a token."""
        return self.k + (self.vocabulary - 1 >> self.low)


def _taken(table: NDArray[Number], columns: NDArray[Column]) -> NDArray[Number]:
    """Of each row of a table the columns that its row of the other names."""
    return np.take_along_axis(table, columns, 1)


def pack(layout: Layout, ids: TopIdArray, logs: TopLogArray) -> bytes:
    """[N, k] token ids (distinct in a row, any order) and their natural log-probabilities as bytes;
    -inf throughout says nothing.
    """
    order = np.argsort(ids, axis=1)
    ids = _taken(ids, order).astype(np.int64)
    logs = _taken(logs, order).astype(np.float64)
    largest = logs.max(axis=1, keepdims=True)
    # Rows of which nothing is known are -inf throughout.
    largest = np.maximum(largest, np.finfo(np.float64).min)
    roots = _STEPS * np.exp((logs - largest) / 3.0)
    codes = np.rint(roots).astype(np.uint8)
    # A token of which nothing is known has the mass 0.
    with np.errstate(divide="ignore"):
        mass = np.log(np.exp(logs).sum(axis=1))
    second = _second(codes)
    # -0.5 to 0.5 of a step.
    rests = _taken(roots - codes, second)
    finer = np.rint(rests * 254.0)
    parts = [
        _small(codes),
        mass.astype("<f4").tobytes(),
        finer.astype(np.int8).tobytes(),
        _low_bits(layout, ids),
        _high_bits(layout, ids),
    ]
    return b"".join(parts)


def unpack(
    layout: Layout, count: int, data: bytes
) -> tuple[TopIdArray, TopLogArray]:
    """(ids [N, k] int64, log-probabilities [N, k] fp32), ids ascending, of so many tokens; -inf for
    what is not known.
    """
    cursor = _Cursor(memoryview(data))
    size = int.from_bytes(cursor.take(4), "little")
    packed = cursor.take(size)
    raw = zlib.decompress(packed) if size < count * layout.k else packed
    codes = np.frombuffer(raw, np.uint8).reshape(count, layout.k)
    mass = np.frombuffer(cursor.take(4 * count), "<f4")
    finer = cursor.small(count).view(np.int8)
    logs = _logs(
        codes,
        mass=mass[:, None],
        finer=finer[:, None].astype(np.float32) / np.float32(254),
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

    def small(self, count: int) -> NDArray[np.uint8]:
        """The next bytes as numbers."""
        return np.frombuffer(self.take(count), np.uint8)

    def bits(self, count: int) -> NDArray[np.uint8]:
        """So many bits; the last byte may be filled up."""
        whole_bytes = -(-count // 8)
        return np.unpackbits(self.small(whole_bytes), count=count)


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
        total = np.log(shares.sum(axis=1, keepdims=True))
        logs: TopLogArray = np.log(shares) + (mass - total)
    logs[shares <= 0] = -np.inf
    return logs


def _second(codes: Codes) -> NDArray[np.int32]:
    """[N, 1] places of the second largest code (of the only one, where there is one); of equal ones
    the first counts as larger.
    """
    width = codes.shape[1]
    positions = np.arange(width, dtype=np.int32)
    # One number a code: the larger codes first, of equal ones the earlier.
    ranks = (255 - codes.astype(np.int32)) * width + positions
    rank = min(1, width - 1)
    ordered: NDArray[np.int32] = np.partition(ranks, rank, axis=1)
    second: NDArray[np.int32] = ordered[:, rank : rank + 1] % width
    return second


def _small(codes: Codes) -> bytes:
    """Codes with their length before them; compressed where that makes them shorter."""
    raw = codes.tobytes()
    packed = zlib.compress(raw, 6)
    shorter = packed if len(packed) < len(raw) else raw
    return len(shorter).to_bytes(4, "little") + shorter


def _low_bits(layout: Layout, ids: TopIdArray) -> bytes:
    """Whole bytes of the low parts first, then what is left of their bits."""
    low = ids & ((1 << layout.low) - 1)
    whole_bytes, rest = divmod(layout.low, 8)
    parts = []
    for byte in range(whole_bytes):
        part = low >> (8 * byte) & 255
        parts.append(part.astype(np.uint8).tobytes())
    if rest:
        shifts = 8 * whole_bytes + np.arange(rest)
        bits = low[:, :, None] >> shifts & 1
        packed = np.packbits(bits.astype(np.uint8))
        parts.append(packed.tobytes())
    return b"".join(parts)


def _high_bits(layout: Layout, ids: TopIdArray) -> bytes:
    """A row of ones and zeros a token: the n-th one stands at the n-th id's high part, plus n."""
    rows = np.zeros((len(ids), layout.high), np.uint8)
    ones = (ids >> layout.low) + np.arange(layout.k)
    np.put_along_axis(rows, ones, 1, 1)
    return np.packbits(rows).tobytes()


def _ids(layout: Layout, count: int, cursor: _Cursor) -> TopIdArray:
    """[N, k] token ids, ascending."""
    shape = (count, layout.k)
    entries = count * layout.k
    ids: TopIdArray = np.zeros(shape, np.int64)
    # Whole bytes of the low parts.
    whole_bytes, rest = divmod(layout.low, 8)
    for byte in range(whole_bytes):
        part = cursor.small(entries).reshape(shape)
        ids |= part.astype(np.int64) << 8 * byte
    # What is left of their bits.
    if rest:
        bits = cursor.bits(entries * rest).reshape(*shape, rest)
        powers = 1 << np.arange(rest, dtype=np.int64)
        low = bits.astype(np.int64) @ powers
        ids |= low << 8 * whole_bytes
    # The n-th one of a token's row stands at the high part of its n-th id, plus n.
    ones = cursor.bits(count * layout.high)
    positions = np.flatnonzero(ones).reshape(shape)
    row_starts = np.arange(count) * layout.high
    high = positions - row_starts[:, None] - np.arange(layout.k)
    return ids | high << layout.low
