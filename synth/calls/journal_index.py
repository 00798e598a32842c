"""Where in the journal a key's record stands: some 10 bytes a key, whatever the keys."""

from __future__ import annotations

from array import array
from collections.abc import Callable

# A slot holds 26 bits of the key and 38 of the offset: journals up to 256 GB, 50 million replies at
# full speed.
_OFFSET_BITS = 38
_PRINT_BITS = 64 - _OFFSET_BITS
_OFFSET = (1 << _OFFSET_BITS) - 1
# Tables that grow one by one, so that no moment holds the whole index twice.
_SHARDS = 64
# Tables with fewer slots double when they are full. Larger ones, 64 MB in all, grow by a quarter.
_SMALL = 1 << 17


class Index:
    """Open-addressing tables of fingerprints and offsets.

    A dict of 64-character keys takes some 200 bytes each. Two keys can share a fingerprint (one
    lookup in some 4,000 at a million keys), so `get` lets the caller confirm a candidate against
    the record itself.
    """

    def __init__(self) -> None:
        self.count = 0
        self._shards = [_Shard() for _ in range(_SHARDS)]

    def add(self, key: str, offset: int) -> None:
        """Notes that a key's record starts at a byte offset."""
        number = int(key[:16], 16)
        shard = self._shards[number % _SHARDS]
        # 0 is an empty slot: offsets are stored from 1 on.
        shard.add(number >> _OFFSET_BITS, offset + 1)
        self.count += 1

    def expect(self, keys: int) -> None:
        """Makes room for so many more keys at once."""
        # A third more slots than keys, so that no shard has to grow.
        size = int(1.3 * (self.count + keys) / _SHARDS) + 16
        for shard in self._shards:
            if size > len(shard.slots):
                shard.resize(size)

    def get(self, key: str, confirm: Callable[[int], bool]) -> int | None:
        """The offset of a key's record, or None; `confirm(offset)` says whether the record is
        really the key's.
        """
        number = int(key[:16], 16)
        shard = self._shards[number % _SHARDS]
        return shard.get(number >> _OFFSET_BITS, confirm)


class _Shard:
    """One table. A slot's place grows with its fingerprint, so that a resize is one pass from left
    to right.
    """

    def __init__(self) -> None:
        self.count = 0
        self.slots = array("Q", bytes(8 * 16))

    def add(self, print_: int, stored: int) -> None:
        # At most 17 of 20 slots are taken, then the table grows.
        size = len(self.slots)
        if 20 * (self.count + 1) > 17 * size:
            self.resize(size * 2 if size < _SMALL else size * 5 // 4)
        self._put(self.slots, print_ << _OFFSET_BITS | stored)
        self.count += 1

    @staticmethod
    def _put(slots: array[int], slot: int) -> None:
        size = len(slots)
        spot = (slot >> _OFFSET_BITS) * size >> _PRINT_BITS
        while slots[spot]:
            spot += 1
            if spot == size:
                spot = 0
        slots[spot] = slot

    def resize(self, size: int) -> None:
        """The same slots in a table of another size, which must hold them."""
        least = self.count * 20 // 17 + 1
        fresh = array("Q", bytes(8 * max(size, least)))
        for slot in self.slots:
            if slot:
                self._put(fresh, slot)
        self.slots = fresh

    def get(self, print_: int, confirm: Callable[[int], bool]) -> int | None:
        slots = self.slots
        size = len(slots)
        spot = print_ * size >> _PRINT_BITS
        while slot := slots[spot]:
            if slot >> _OFFSET_BITS == print_:
                offset = (slot & _OFFSET) - 1
                if confirm(offset):
                    return offset
            spot += 1
            if spot == size:
                spot = 0
        return None
