"""Where the lines of a file begin, and where in a journal the reply of a key stands.

Both are arrays in memory, made anew by each command: 16 bytes a line, and a second for a million
replies. A cache on the disk would have to be checked against files that grow.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Bytes that are read at once: what the memory holds of a journal.
_CHUNK = 1 << 22
# Where the first 16 of the 64 hex digits of a key stand in a line of a journal.
_PRINT = slice(9, 25)
_KEY = slice(9, 73)
# What stands in the place of a reply that is under way, or that never came.
_NO_REPLIES = (b"-", b"!")


class Stored(NamedTuple):
    """A reply as a journal holds it.

    Attributes:
        raw: its bytes.
        usd: dollars.
        tokens: in, out, cached, reasoning.
    """

    raw: bytes
    usd: float
    tokens: tuple[int, int, int, int]


class Lines:
    """Starts of the whole lines of a file that may grow.

    Attributes:
        starts: byte offsets, in order.
        end: the byte behind the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: Any = np.zeros(0, np.int64)
        self.end = 0

    def __len__(self) -> int:
        return len(self.starts)

    def refresh(self) -> Any:
        """Looks for new lines; returns their starts."""
        if not self.path.is_file():
            return self.starts[:0]
        if self.path.stat().st_size < self.end:
            # Somebody wrote the file anew.
            self.starts = self.starts[:0]
            self.end = 0
        before = len(self.starts)
        ends = self._ends()
        if ends:
            found = np.concatenate(ends)
            starts = np.concatenate(
                [
                    [self.end],
                    found[:-1],
                ]
            )
            self.starts = np.concatenate(
                [
                    self.starts,
                    starts,
                ]
            )
            self.end = int(found[-1])
        return self.starts[before:]

    def _ends(self) -> list[Any]:
        """Bytes behind each new line end."""
        ends = []
        with self.path.open("rb") as file:
            at = self.end
            file.seek(at)
            while chunk := file.read(_CHUNK):
                signs = np.frombuffer(chunk, np.uint8)
                places = np.flatnonzero(signs == ord("\n"))
                if len(places):
                    ends.append(places + at + 1)
                at += len(chunk)
        return ends

    def line(
        self,
        number: int,
        most: int | None = None,
    ) -> bytes:
        """A line without its end, or its first bytes."""
        start = int(self.starts[number])
        last = number + 1 == len(self.starts)
        end = self.end if last else int(self.starts[number + 1])
        size = end - start - 1
        with self.path.open("rb") as file:
            return os.pread(
                file.fileno(),
                min(size, most or size),
                start,
            )


class ReplyLines:
    """Replies of a journal by their keys.

    Args:
        path: its `replies.log`; it may be missing, and may grow.
    """

    def __init__(self, path: Path) -> None:
        self.lines = Lines(path)
        self._prints: Any = np.zeros(0, np.uint64)
        self._order: Any = np.zeros(0, np.uint32)

    def refresh(self) -> None:
        """Takes in what the journal gained."""
        fresh = self.lines.refresh()
        if not len(fresh):
            return
        first = len(self.lines) - len(fresh)
        if not first:
            self._prints = self._prints[:0]
            self._order = self._order[:0]
        prints = np.empty(len(fresh), np.uint64)
        with self.lines.path.open("rb") as file:
            _read_prints(
                file.fileno(),
                self.lines,
                prints,
                first,
            )
        numbers = np.arange(
            first,
            len(self.lines),
            dtype=np.uint32,
        )
        prints = np.concatenate(
            [
                self._prints,
                prints,
            ]
        )
        numbers = np.concatenate(
            [
                self._order,
                numbers,
            ]
        )
        order = np.argsort(
            prints,
            kind="stable",
        )
        self._prints = prints[order]
        self._order = numbers[order]

    def get(self, key: str) -> Stored | None:
        """The reply of a key; None where there is none."""
        try:
            print_ = np.uint64(int(key[:16], 16))
        except ValueError:
            return None
        low, high = (
            int(
                np.searchsorted(
                    self._prints,
                    print_,
                    side=side,
                )
            )
            for side in ("left", "right")
        )
        # The last one counts, as it does for a run.
        for place in range(
            high - 1,
            low - 1,
            -1,
        ):
            line = self.lines.line(int(self._order[place]))
            parts = line[9:].split(b" ", 6)
            if line[_KEY] == key.encode() and parts[6] not in _NO_REPLIES:
                read, made, cached, thought = map(int, parts[1:5])
                return Stored(
                    parts[6],
                    float(parts[5]),
                    (read, made, cached, thought),
                )
        return None


def _read_prints(
    descriptor: int,
    lines: Lines,
    out: Any,
    first: int,
) -> None:
    """Fills `out` from line `first` on with the first 64 bits of the lines' keys; 0 where a line
    holds none.
    """
    at = first
    while at < len(lines):
        start = int(lines.starts[at])
        # As many whole lines as fit, and one at least.
        last = int(np.searchsorted(lines.starts, start + _CHUNK))
        last = max(last, at + 1)
        end = lines.end if last == len(lines) else int(lines.starts[last])
        size = min(end - start, 2 * _CHUNK)
        block = np.frombuffer(
            os.pread(
                descriptor,
                size,
                start,
            ),
            np.uint8,
        )
        places = lines.starts[at:last] - start
        fits = places + _PRINT.stop <= len(block)
        places = places[fits]
        digits = np.arange(_PRINT.start, _PRINT.stop)
        signs = block[places[:, None] + digits].astype(np.uint64)
        values = np.where(
            signs >= ord("a"),
            signs - 87,
            signs - 48,
        )
        found = np.zeros(len(places), np.uint64)
        for place in range(values.shape[1]):
            found = (found << np.uint64(4)) | (values[:, place] & np.uint64(15))
        block_prints = np.zeros(last - at, np.uint64)
        block_prints[fits] = found
        out[at - first : last - first] = block_prints
        at = last
