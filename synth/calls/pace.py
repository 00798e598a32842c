"""Spreads an amount (requests, or tokens) evenly over time."""

from __future__ import annotations

from math import inf

# Pacing stays this far below a known rate, so that jitter on the way never adds up to a refusal.
MARGIN = 0.97
# The slowest rate that is ever learned: two calls a minute.
FLOOR = 1 / 30


class Pace:
    """Spreads an amount (requests, or tokens) evenly.

    Args:
        a_minute: what the user grants, None for no limit.

    Attributes:
        limit: amount a minute that the user grants and the server announces, None for no limit.
        share: the part of the limit that is this process's own, where several share it.
        rate: amount a second, None for no limit.
        learned: the part of it that refusals taught, None where they taught nothing.
        taken: all that was ever booked.
    """

    def __init__(self, a_minute: float | None) -> None:
        self.given = a_minute
        self.limit = a_minute
        self.share: float | None = None
        self.learned: float | None = None
        self.taken = 0.0
        self.rate = self._allowed()
        self._next = 0.0

    def _allowed(self) -> float | None:
        """Amount a second without what refusals taught."""
        if self.limit is None:
            return None
        a_minute = min(self.limit, self.share or inf)
        return a_minute / 60 * MARGIN

    def announce(self, a_minute: float) -> None:
        """What the server says it allows; the user's own limit still holds, what refusals taught is
        forgotten.
        """
        self.limit = a_minute
        if self.given:
            self.limit = min(a_minute, self.given)
        self.learn(None)

    def allot(self, a_minute: float) -> None:
        """The share of the limit from now on; what refusals taught stays."""
        self.share = a_minute
        allowed = self._allowed()
        self.rate = allowed
        if self.learned is not None:
            self.rate = min(self.learned, allowed or inf)

    def learn(self, rate: float | None) -> None:
        """What refusals showed to be possible; None forgets it."""
        allowed = self._allowed()
        self.learned = rate
        if rate is not None:
            self.learned = max(rate, FLOOR)
        if self.learned is not None and self.learned >= (allowed or inf):
            self.learned = None
        self.rate = self.learned
        if self.learned is None:
            self.rate = allowed

    def grow(self, factor: float) -> None:
        """Tries a learned rate upwards."""
        if self.learned is not None:
            self.learn(self.learned * factor)

    def wait(self, now: float) -> float:
        """Seconds until the next call may go out."""
        if not self.rate:
            return 0.0
        return self._next - now

    def take(self, now: float, amount: float) -> None:
        """Books an amount; what a call turned out to need more (or less) is booked the same way."""
        self.taken += amount
        if self.rate:
            seconds = amount / self.rate
            self._next = max(self._next, now) + seconds
