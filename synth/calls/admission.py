"""When a call may go out: so many in flight, so many a minute, and never before the time that a server asked to wait for.

Limits are given by the user (--concurrency, --rpm, --tpm), announced by the server (x-ratelimit-limit-*), or learned
from its refusals.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from synth.errors import TeacherBusy
from synth.teachers.base import Limits

START = 16
SHRINK = 0.7
# Pacing stays this far below a known rate, so that jitter on the way never adds up to a refusal.
MARGIN = 0.97
# A learned rate creeps up with every success, slowly at first and faster the longer nothing is refused: by 6 % after
# some 200 successes (so that probing is refused once in 200 calls), twofold after some 500.
CREEP = 1.3e-4
# Successes that earn one more call in flight beyond the number that was once refused.
PROBE = 200


class Pace:
    """Spreads an amount (requests, or tokens) evenly: `rate` a second, None for no limit."""

    def __init__(self, a_minute: float | None) -> None:
        self.rate = a_minute / 60 * MARGIN if a_minute else None
        self.given, self.learned, self._next = a_minute, False, 0.0

    def announce(self, a_minute: float) -> None:
        """What the server says it allows; the user's own limit still holds."""
        self.rate, self.learned = min(a_minute, self.given or a_minute) / 60 * MARGIN, False

    def learn(self, rate: float) -> None:
        """What a refusal showed to be too much; announced and given rates are left alone where they are lower."""
        if self.rate is None or self.learned or rate < self.rate:
            self.rate, self.learned = max(rate, 0.02), True

    def creep(self, successes: int) -> None:
        """A learned rate is tried upwards, the more boldly the more successes stand behind it."""
        if self.learned and self.rate is not None:
            self.rate *= 1 + CREEP * (1 + (successes / 100) ** 2)

    def wait(self, now: float) -> float:
        """Seconds until the next call may go out."""
        return self._next - now if self.rate else 0.0

    def take(self, now: float, amount: float) -> None:
        """Books an amount; what a call turned out to need more (or less) is booked the same way."""
        if self.rate:
            self._next = max(self._next, now) + amount / self.rate


class Gate:
    """Admits calls to one endpoint and key.

    The limit on calls in flight doubles each round of clean successes while it is used, then grows by one a
    round, up to a ceiling that refusals lower and PROBE successes raise. A refusal after many successes was a probe and
    costs one call in flight, one after few costs a third of them. A Retry-After closes the gate until then.

    Args:
        most: the user's --concurrency; the limit never exceeds it.
        rpm: requests a minute that the user grants, None for no limit.
        tpm: tokens a minute, in and out, None for no limit.
        start: calls in flight at first.
    """

    def __init__(self, most: int, rpm: float | None = None, tpm: float | None = None, *, start: int = START) -> None:
        self.most, self.limit, self.flying = most, float(min(start, most)), 0
        self.requests, self.tokens = Pace(rpm), Pace(tpm)
        self._ceiling, self._slow_start = float(most), True
        self._open_at = self._shrunk_at = 0.0
        self._since, self._count = time.monotonic(), 0
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self, tokens: float = 0.0) -> None:
        """Waits until a call of about so many tokens may go out."""
        if self.flying >= int(self.limit) or self._queue:
            await self._stand_in_line()
        else:
            self.flying += 1
        try:
            while (wait := self._wait(time.monotonic())) > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._leave()
            raise
        now = time.monotonic()
        self.requests.take(now, 1)
        self.tokens.take(now, tokens)

    async def _stand_in_line(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._leave()
            raise

    def _wait(self, now: float) -> float:
        return max(self._open_at - now, self.requests.wait(now), self.tokens.wait(now))

    def _leave(self) -> None:
        self.flying -= 1
        while self._queue and self.flying < int(self.limit):
            waiter = self._queue.popleft()
            if not waiter.done():
                self.flying += 1
                waiter.set_result(None)

    def succeeded(self, limits: Limits | None = None, tokens: float = 0.0, expected: float = 0.0) -> None:
        """A call came back clean: what it really took is booked, and the limit grows where it was in use."""
        now = time.monotonic()
        self._count += 1
        self.tokens.take(now, tokens - expected)
        if limits:
            self._announced(limits)
        self.requests.creep(self._count)
        self._ceiling = min(self.most, self._ceiling + 1 / PROBE)
        if self.limit < self._ceiling and self.flying >= int(self.limit):
            self.limit = min(self._ceiling, self.limit + (1.0 if self._slow_start else 1.0 / self.limit))
        self._leave()

    def _announced(self, limits: Limits) -> None:
        if limits.requests:
            self.requests.announce(limits.requests)
        if limits.tokens:
            self.tokens.announce(limits.tokens)

    def failed(self, error: BaseException, expected: float = 0.0) -> None:
        """A call came back with an error; refusals for load lower the limits."""
        now = time.monotonic()
        self.tokens.take(now, -expected)
        if isinstance(error, TeacherBusy):
            if error.retry_after is not None:
                self._open_at = max(self._open_at, now + error.retry_after)
            if error.limited and now - self._shrunk_at > 1.0:
                self._refused(now, error.retry_after or 0.0)
        self._leave()

    def _refused(self, now: float, retry_after: float) -> None:
        """Learns from a refusal: where all places in flight were taken they may be too many, else the rate is too high."""
        full, probing = self.flying >= int(self.limit), self._count >= PROBE / 2
        blame_places = full and probing and self.requests.learned
        self._learn(now - self._since + retry_after, 2 - MARGIN if blame_places else MARGIN)
        if full or not probing:
            self._ceiling = max(1.0, min(self._ceiling, self.flying) - 1)
            self.limit = max(1.0, min(self._ceiling, self.limit if probing else self.limit * SHRINK))
        if not retry_after and self.requests.rate:
            self._open_at = max(self._open_at, now + min(1.0, 5 / self.requests.rate))
        self._slow_start, self._shrunk_at = False, now
        self._since, self._count = now + retry_after, 0

    def _learn(self, span: float, share: float) -> None:
        """What came through since the last refusal, until the server lets in again, is the rate."""
        if self._count >= 5 and span > 0.5:
            self.requests.learn(self._count / span * share)
