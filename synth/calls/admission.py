"""How many calls may be in flight: slow start, additive increase, multiplicative decrease, pauses that a server asks for."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from synth.errors import TeacherBusy

START = 16
SHRINK = 0.7


class Gate:
    """Admits calls to one endpoint.

    The limit doubles each round of clean successes while it is used, then grows by one a round; a refusal
    for load shrinks it (at most once a second) and a Retry-After closes the gate until then.

    Args:
        most: the user's --concurrency; the limit never exceeds it.
        rpm: requests a minute that the user grants, None for no limit.
    """

    def __init__(self, most: int, rpm: float | None = None) -> None:
        self.most, self.limit, self.flying = most, float(min(START, most)), 0
        self._slow_start, self._open_at, self._shrunk_at = True, 0.0, 0.0
        self._gap, self._next = (60.0 / rpm if rpm else 0.0), 0.0
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Waits until a call may go out."""
        if self.flying >= int(self.limit) or self._queue:
            waiter = asyncio.get_running_loop().create_future()
            self._queue.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._leave()
                raise
        else:
            self.flying += 1
        await self._pause()

    async def _pause(self) -> None:
        """Waits for the server's Retry-After and for the user's requests a minute."""
        if self._gap:
            now = time.monotonic()
            self._next = max(self._next + self._gap, now)
            await asyncio.sleep(self._next - now)
        while (wait := self._open_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def _leave(self) -> None:
        self.flying -= 1
        while self._queue and self.flying < int(self.limit):
            waiter = self._queue.popleft()
            if not waiter.done():
                self.flying += 1
                waiter.set_result(None)

    def succeeded(self) -> None:
        """A call came back clean; the limit grows where it was in use."""
        if self.limit < self.most and self.flying >= int(self.limit):
            self.limit = min(self.most, self.limit + (1.0 if self._slow_start else 1.0 / self.limit))
        self._leave()

    def failed(self, error: BaseException) -> None:
        """A call came back with an error; refusals for load shrink the limit."""
        now = time.monotonic()
        if isinstance(error, TeacherBusy) and error.retry_after is not None:
            self._open_at = max(self._open_at, now + error.retry_after)
        if isinstance(error, TeacherBusy) and error.limited and now - self._shrunk_at > 1.0:
            self._slow_start, self._shrunk_at = False, now
            self.limit = max(1.0, self.limit * SHRINK)
        self._leave()
