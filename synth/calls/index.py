"""Where in the journal a key's record stands: 16 bytes a key, whatever the keys."""

from __future__ import annotations

from array import array
from collections.abc import Callable


class Index:
    """An open-addressing table of 64-bit fingerprints and offsets.

    A dict of 64-character keys takes some 200 bytes each; this takes 16 to 40. Two keys can share a
    fingerprint, so `get` lets the caller confirm a candidate against the record itself.
    """

    def __init__(self) -> None:
        self.count = 0
        self._resize(1 << 12)

    def _resize(self, slots: int) -> None:
        self._mask = slots - 1
        self._prints, self._offsets = array("Q", bytes(8 * slots)), array("Q", bytes(8 * slots))

    def add(self, key: str, offset: int) -> None:
        """Notes that a key's record starts at a byte offset."""
        if 4 * (self.count + 1) > 3 * (self._mask + 1):
            self._grow()
        self._put(_print(key), offset + 1)
        self.count += 1

    def _put(self, print_: int, stored: int) -> None:
        prints, mask = self._prints, self._mask
        spot = print_ & mask
        while prints[spot]:
            spot = (spot + 1) & mask
        prints[spot] = print_
        self._offsets[spot] = stored

    def _grow(self) -> None:
        old = zip(self._prints, self._offsets, strict=True)
        self._resize(2 * (self._mask + 1))
        for print_, stored in old:
            if print_:
                self._put(print_, stored)

    def get(self, key: str, confirm: Callable[[int], bool]) -> int | None:
        """The offset of a key's record, or None; `confirm(offset)` says whether the record is really the key's."""
        print_, mask = _print(key), self._mask
        spot = print_ & mask
        while self._prints[spot]:
            if self._prints[spot] == print_ and confirm(self._offsets[spot] - 1):
                return self._offsets[spot] - 1
            spot = (spot + 1) & mask
        return None


def _print(key: str) -> int:
    return int(key[:16], 16) or 1
