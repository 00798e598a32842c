"""Calls that brought no reply, second by second, for people who look at a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import orjson

from synth.core.errors import TeacherError

NAME = "faults.jsonl"


class FaultLog:
    """Counts of each second in which calls failed: `{"at": 1764230400, "rate_limit": 3}`, with
    seconds since 1970 and the kinds of errors. Nothing is decided by it, so it is not forced to the
    disk: a kill costs the last second.

    Args:
        folder: the journal's; it is there when the first call fails.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._second = 0
        self._counts: Counter[str] = Counter()

    def add(self, error: TeacherError) -> None:
        """One call, whether or not it is asked again."""
        now = int(time.time())
        if now != self._second:
            self.flush()
            self._second = now
        self._counts[error.kind] += 1

    def flush(self) -> None:
        """Writes the second that is counted."""
        if not self._counts:
            return
        line = orjson.dumps({"at": self._second, **self._counts}) + b"\n"
        self._counts.clear()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # A disk that is full ends a run where a reply is written, and not here.
        with suppress(OSError):
            file = os.open(self.path, flags, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
