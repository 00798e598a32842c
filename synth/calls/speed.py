"""How fast a server works: tokens a second, learnt while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable

# Seconds after which what a server did counts for 1/e; at least so many times what a call takes,
# so that a few of them are always remembered.
MEMORY, CALLS = 10.0, 4.0


class Speed:
    """Tokens a second that one server works off while it has calls.

    The past fades, also while nothing is asked: a server that was slow once is tried again.

    Attributes:
        memory: seconds after which the past counts for 1/e.

    >>> speed = Speed(now=0.0, memory=1e9)
    >>> speed.passed(2.0, busy=True)
    >>> speed.did(300.0)
    >>> round(speed.rate(usual=50.0, trust=1.0))
    117
    """

    def __init__(self, now: float, memory: float = MEMORY) -> None:
        self.memory = memory
        self._tokens = 0.0
        self._busy = 0.0
        self._looked = now

    def passed(self, now: float, *, busy: bool) -> None:
        """Time has passed since the last look.

        Args:
            now: seconds of any clock that does not go back.
            busy: whether the server had a call all the while.
        """
        span = now - self._looked
        self._looked = now
        kept = math.exp(-span / self.memory)
        self._tokens *= kept
        self._busy *= kept
        if busy:
            # The integral of what is left of each moment.
            self._busy += self.memory * (1 - kept)

    def did(self, tokens: float) -> None:
        """The server has worked off so many tokens."""
        self._tokens += tokens

    def rate(self, usual: float, trust: float) -> float:
        """Tokens a second: `usual`, weighed as `trust` seconds of work, and what was seen.

        A newcomer is taken for a usual server, and for a slower one with each second in which
        nothing comes.
        """
        tokens = usual * trust + self._tokens
        return tokens / (trust + self._busy)

    def seen(self) -> tuple[float, float]:
        """Tokens, and the seconds of work that they took; both as they are remembered."""
        return self._tokens, self._busy


def usual_rate(speeds: Iterable[Speed]) -> float:
    """Tokens a second of a usual server among these; 1 while nothing is known."""
    seen = [speed.seen() for speed in speeds]
    tokens = sum(tokens for tokens, _ in seen)
    busy = sum(busy for _, busy in seen)
    if not tokens or not busy:
        return 1.0
    return tokens / busy
