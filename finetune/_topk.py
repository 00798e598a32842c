"""Top-k entries of a teacher, packed: token ids exactly, log-probabilities in 8 bits, the two largest of each token in 16.

Ids of a token, sorted, are split: low bits stand as they are, high bits as a row of ones and zeros of fixed length (Elias-Fano). A
log-probability is coded by the cube root of its probability relative to the token's largest, which errs least where mass lies.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import floor, log2
from typing import Any

import numpy as np

# Entries of a token whose log-probabilities are kept as fp16: they carry nearly all the mass.
EXACT = 2
# Relative log-probability of each code; code 0 is 16.6 nats and more below the largest.
_TABLE = (3.0 * np.log(np.maximum(np.arange(256), 1) / 255.0)).astype(np.float32)


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
            raise ValueError(f"k={self.k} of a vocabulary of {self.vocabulary}; use 1 to all of it")

    @property
    def low(self) -> int:
        """Bits of an id that stand as they are."""
        return max(0, floor(log2(self.vocabulary / self.k)))

    @property
    def high(self) -> int:
        """Bits of the row of ones and zeros that holds the high parts of all ids of a token."""
        return self.k + (self.vocabulary - 1 >> self.low)


def pack(layout: Layout, ids: Any, logs: Any) -> bytes:
    """[N, k] token ids (distinct in a row, any order) and their natural log-probabilities as bytes."""
    order = np.argsort(ids, axis=1)
    ids = np.take_along_axis(ids, order, 1).astype(np.int64)
    logs = np.take_along_axis(logs, order, 1).astype(np.float32)
    codes = np.rint(255.0 * np.exp((logs - logs.max(axis=1, keepdims=True)) / 3.0)).astype(np.uint8)
    exact = np.take_along_axis(logs, _largest(codes), 1).astype("<f2")
    return b"".join([_small(codes), exact.tobytes(), _low_bits(layout, ids), _high_bits(layout, ids)])


def unpack(layout: Layout, count: int, data: Any) -> tuple[Any, Any]:
    """(ids [N, k] int64, log-probabilities [N, k] fp32), ids ascending, of so many tokens."""
    view = memoryview(data)
    size = int.from_bytes(view[:4], "little")
    packed, at = view[4 : 4 + size], 4 + size
    raw = zlib.decompress(packed) if size < count * layout.k else packed
    codes = np.frombuffer(raw, np.uint8).reshape(count, layout.k)
    wide = min(EXACT, layout.k)
    exact = np.frombuffer(view[at : at + 2 * wide * count], "<f2").reshape(count, wide).astype(np.float32)
    logs = _TABLE[codes] + exact[:, :1]
    np.put_along_axis(logs, _largest(codes), exact, 1)
    return _ids(layout, count, view[at + 2 * wide * count :]), logs


def _largest(codes: Any) -> Any:
    """[N, EXACT] places of the largest codes, the largest first; of equal ones the first."""
    places = np.arange(codes.shape[1], dtype=np.int32)
    ranked = (255 - codes.astype(np.int32)) * codes.shape[1] + places
    wide = min(EXACT, codes.shape[1])
    best = np.partition(ranked, wide - 1, axis=1)[:, :wide]
    best.sort(axis=1)
    return best % codes.shape[1]


def _small(codes: Any) -> bytes:
    """Codes with their length before them; compressed where that makes them shorter."""
    raw = codes.tobytes()
    packed = zlib.compress(raw, 6)
    found = packed if len(packed) < len(raw) else raw
    return len(found).to_bytes(4, "little") + found


def _low_bits(layout: Layout, ids: Any) -> bytes:
    """Whole bytes of the low parts first, then what is left of their bits."""
    low = ids & ((1 << layout.low) - 1)
    parts = [(low >> (8 * n) & 255).astype(np.uint8).tobytes() for n in range(layout.low // 8)]
    rest = layout.low % 8
    if rest:
        bits = low[:, :, None] >> (8 * (layout.low // 8) + np.arange(rest)) & 1
        parts.append(np.packbits(bits.astype(np.uint8)).tobytes())
    return b"".join(parts)


def _high_bits(layout: Layout, ids: Any) -> bytes:
    rows = np.zeros((len(ids), layout.high), np.uint8)
    np.put_along_axis(rows, (ids >> layout.low) + np.arange(layout.k), 1, 1)
    return np.packbits(rows).tobytes()


def _ids(layout: Layout, count: int, view: Any) -> Any:
    shape, at = (count, layout.k), 0
    found = np.zeros(shape, np.int64)
    for byte in range(layout.low // 8):
        found |= np.frombuffer(view[at : at + count * layout.k], np.uint8).reshape(shape).astype(np.int64) << 8 * byte
        at += count * layout.k
    rest = layout.low % 8
    if rest:
        size = -(-count * layout.k * rest // 8)
        bits = np.unpackbits(np.frombuffer(view[at : at + size], np.uint8), count=count * layout.k * rest).reshape(*shape, rest)
        found |= bits.astype(np.int64) @ (1 << np.arange(rest, dtype=np.int64)) << 8 * (layout.low // 8)
        at += size
    size = -(-count * layout.high // 8)
    ones = np.flatnonzero(np.unpackbits(np.frombuffer(view[at : at + size], np.uint8), count=count * layout.high)).reshape(shape)
    high = ones - np.arange(count)[:, None] * layout.high - np.arange(layout.k)
    return found | high << layout.low
