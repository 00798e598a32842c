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
from typing import Any

import numpy as np

# Cube roots are multiples of 1 / 255; code 0 stands for 18.7 nats and more below the largest, and
# is read as not known.
_STEPS = 255.0


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


def pack(layout: Layout, ids: Any, logs: Any) -> bytes:
    """[N, k] token ids (distinct in a row, any order) and their natural log-probabilities as bytes;
    -inf throughout says nothing.
    """
    order = np.argsort(ids, axis=1)
    ids = np.take_along_axis(ids, order, 1).astype(np.int64)
    logs = np.take_along_axis(logs, order, 1).astype(np.float64)
    largest = np.maximum(
        logs.max(axis=1, keepdims=True), np.finfo(np.float64).min
    )
    roots = _STEPS * np.exp((logs - largest) / 3.0)
    codes = np.rint(roots).astype(np.uint8)
    with np.errstate(
        divide="ignore"
    ):  # a token of which nothing is known has the mass 0
        mass = np.log(np.exp(logs).sum(axis=1)).astype("<f4")
    second = _second(codes)
    finer = np.rint(
        np.take_along_axis(roots - codes, second, 1) * 254.0
    ).astype(np.int8)  # -0.5 to 0.5 of a step
    return b"".join(
        [
            _small(codes),
            mass.tobytes(),
            finer.tobytes(),
            _low_bits(layout, ids),
            _high_bits(layout, ids),
        ]
    )


def unpack(layout: Layout, count: int, data: Any) -> tuple[Any, Any]:
    """(ids [N, k] int64, log-probabilities [N, k] fp32), ids ascending, of so many tokens; -inf for
    what is not known.
    """
    view = memoryview(data)
    size = int.from_bytes(view[:4], "little")
    packed = view[4 : 4 + size]
    at = 4 + size
    raw = zlib.decompress(packed) if size < count * layout.k else packed
    codes = np.frombuffer(raw, np.uint8).reshape(count, layout.k)
    mass = np.frombuffer(view[at : at + 4 * count], "<f4")[:, None]
    finer = (
        np.frombuffer(view[at + 4 * count : at + 5 * count], np.int8)[
            :, None
        ].astype(np.float32)
        / 254
    )
    roots = codes.astype(np.float32)
    second = _second(codes)
    np.put_along_axis(
        roots, second, np.take_along_axis(roots, second, 1) + finer, 1
    )
    shares = (roots / _STEPS) ** 3
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a token of which nothing is known has the mass 0
        logs = np.log(shares) + (
            mass - np.log(shares.sum(axis=1, keepdims=True))
        )
    logs[shares <= 0] = -np.inf
    return _ids(layout, count, view[at + 5 * count :]), logs


def _second(codes: Any) -> Any:
    """[N, 1] places of the second largest code (of the only one, where there is one); of equal ones
    the first counts as larger.
    """
    places = np.arange(codes.shape[1], dtype=np.int32)
    ranked = (255 - codes.astype(np.int32)) * codes.shape[1] + places
    at = min(1, codes.shape[1] - 1)
    return np.partition(ranked, at, axis=1)[:, at : at + 1] % codes.shape[1]


def _small(codes: Any) -> bytes:
    """Codes with their length before them; compressed where that makes them shorter."""
    raw = codes.tobytes()
    packed = zlib.compress(raw, 6)
    found = packed if len(packed) < len(raw) else raw
    return len(found).to_bytes(4, "little") + found


def _low_bits(layout: Layout, ids: Any) -> bytes:
    """Whole bytes of the low parts first, then what is left of their bits."""
    low = ids & ((1 << layout.low) - 1)
    parts = [
        (low >> (8 * n) & 255).astype(np.uint8).tobytes()
        for n in range(layout.low // 8)
    ]
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
    shape = (count, layout.k)
    at = 0
    found = np.zeros(shape, np.int64)
    for byte in range(layout.low // 8):
        found |= (
            np.frombuffer(view[at : at + count * layout.k], np.uint8)
            .reshape(shape)
            .astype(np.int64)
            << 8 * byte
        )
        at += count * layout.k
    rest = layout.low % 8
    if rest:
        size = -(-count * layout.k * rest // 8)
        bits = np.unpackbits(
            np.frombuffer(view[at : at + size], np.uint8),
            count=count * layout.k * rest,
        ).reshape(*shape, rest)
        found |= bits.astype(np.int64) @ (
            1 << np.arange(rest, dtype=np.int64)
        ) << 8 * (layout.low // 8)
        at += size
    size = -(-count * layout.high // 8)
    ones = np.flatnonzero(
        np.unpackbits(
            np.frombuffer(view[at : at + size], np.uint8),
            count=count * layout.high,
        )
    ).reshape(shape)
    high = ones - np.arange(count)[:, None] * layout.high - np.arange(layout.k)
    return found | high << layout.low
