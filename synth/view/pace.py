"""What a journal says of the course of a run: replies, tokens, dollars, and calls that came to
nothing, over time where the provider dates its replies, else over the replies in their order.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

# Seconds that one page reads of a journal; the next page goes on.
READ_SECONDS = 0.05
# Bytes of a line that are looked at; a date stands before or behind the text of a reply.
_MOST_LOOKED_AT = 4096
# Lines between two points, at first; where there are more points than these, every other one goes.
_EVERY = 20
_MOST_POINTS = 2000
# Looks that a rate is taken over.
_LOOKS = 10
_NONE: Counter[str] = Counter()
_CREATED = re.compile(rb'"created": ?(\d{10})\b')


class Point(NamedTuple):
    """The sums up to a line.

    Attributes:
        made: seconds since 1970, by the provider's word; 0 where it says nothing.
    """

    replies: int
    made: int
    usd: float
    tokens: int
    no_reply: int


class _Growing:
    """The lines of a file that grows, each of them once.

    Args:
        path: it may be missing.

    Attributes:
        read: bytes that were taken.
        size: bytes that stood there at the last look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self.size = 0

    def is_another(self) -> bool:
        """Looks how long the file is; whether it is shorter than what was read of it, so that it
        is read from its beginning.
        """
        self.size = self.path.stat().st_size if self.path.is_file() else 0
        shorter = self.size < self.read
        if shorter:
            self.read = 0
        return shorter

    def lines(self) -> Iterator[bytes]:
        """The new ones that have an end, for READ_SECONDS at most."""
        if self.size == self.read:
            return
        deadline = time.monotonic() + READ_SECONDS
        with self.path.open("rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written
                self.read += len(line)
                yield line
                if time.monotonic() > deadline:
                    return


class Faults:
    """Calls that brought no reply, over time; each look reads what is new.

    Args:
        path: `faults.jsonl`, which may be missing and may grow.
    """

    def __init__(self, path: Path) -> None:
        self.file = _Growing(path)
        self._begin()

    def _begin(self) -> None:
        self.width = 1  # seconds of a bucket
        self.buckets: dict[int, Counter[str]] = {}

    def look(self) -> None:
        """Reads on for READ_SECONDS at most."""
        if self.file.is_another():
            self._begin()
        for line in self.file.lines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        """One second; a line that a crash broke says nothing."""
        try:
            counts = orjson.loads(line)
            second = int(counts.pop("at"))
            found = Counter({str(kind): int(n) for kind, n in counts.items()})
        except (ValueError, TypeError, AttributeError, KeyError):
            return
        self.buckets.setdefault(second // self.width, Counter()).update(found)
        while self._span() > _MOST_POINTS:
            halved: dict[int, Counter[str]] = {}
            for place, sums in self.buckets.items():
                halved.setdefault(place // 2, Counter()).update(sums)
            self.buckets = halved
            self.width *= 2

    def _span(self) -> int:
        return max(self.buckets) - min(self.buckets) + 1

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Kind -> (seconds since the first of all, calls a minute)."""
        if not self.buckets:
            return {}
        kinds = Counter[str]()
        for sums in self.buckets.values():
            kinds.update(sums)
        return {kind: self._curve(kind) for kind, _ in kinds.most_common()}

    def _curve(self, kind: str) -> list[tuple[float, float]]:
        first = min(self.buckets)
        points = []
        for place in range(first, first + self._span() + 1):
            seconds = float((place - first) * self.width)
            count = self.buckets.get(place, _NONE)[kind]
            points.append((seconds, 60 * count / self.width))
        return points


class Pace:
    """The course of one journal; each look reads what is new.

    Args:
        path: `replies.log`, which may be missing and may grow.
    """

    def __init__(self, path: Path) -> None:
        self.file = _Growing(path)
        self._begin()

    def _begin(self) -> None:
        self.sums = Point(0, 0, 0.0, 0, 0)
        self.points: list[Point] = []
        self._begun = 0
        self._every = _EVERY
        self._lines = 0
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)

    def look(self) -> None:
        """Reads on for READ_SECONDS at most."""
        if self.file.is_another():
            self._begin()
        for line in self.file.lines():
            self._take(line[:_MOST_LOOKED_AT])
            self._lines += 1
            if self._lines % self._every == 0:
                self._note()
        self._looks.append((time.monotonic(), self.sums.replies))

    def _note(self) -> None:
        """Adds a point."""
        self.points.append(self.sums)
        if len(self.points) > _MOST_POINTS:
            self.points = self.points[1::2]
            self._every *= 2

    @property
    def is_whole(self) -> bool:
        """Whether all that was there at the last look was read, but for a line without an end."""
        return self.file.size - self.file.read < _MOST_LOOKED_AT

    def _take(self, line: bytes) -> None:
        parts = line[9:].split(b" ", 6)
        if len(parts) < 7 or parts[6].rstrip() == b"-":
            return
        before = self.sums
        try:
            usd = before.usd + float(parts[5])
            tokens = before.tokens + int(parts[1]) + int(parts[2])
        except ValueError:
            return
        if parts[6].rstrip() == b"!":
            self.sums = before._replace(
                usd=usd,
                no_reply=before.no_reply + 1,
            )
            return
        dated = _CREATED.search(parts[6])
        made = int(dated[1]) if dated else before.made
        self._begun = self._begun or made
        self.sums = Point(
            before.replies + 1,
            max(made, before.made),
            usd,
            tokens,
            before.no_reply,
        )

    def rate(self) -> float:
        """Replies a second between the first and the last of the last ten looks."""
        if len(self._looks) < 2:
            return 0.0
        (start, first), (end, last) = self._looks[0], self._looks[-1]
        return (last - first) / max(1e-9, end - start)

    def curve(self, name: str) -> tuple[list[tuple[float, float]], str]:
        """(points of a sum, what they stand over)."""
        begun = self._begun
        nothing = Point(0, begun, 0.0, 0, 0)
        points = [nothing, *self.points, self.sums]
        if begun and self.sums.made > begun:
            over = [float(point.made - begun) for point in points]
            across = "seconds"
        else:
            over = [float(point.replies) for point in points]
            across = "replies"
        values = [float(getattr(point, name)) for point in points]
        return list(zip(over, values, strict=True)), across
