"""When a call may go out: so many in flight, so many a minute, and never before the time that a
server asked to wait for.

Limits are given by the user (--concurrency, --rpm, --tpm), announced by the server
(x-ratelimit-limit-*), or learned from its refusals. Refusals that come at any load teach nothing: a
trial at three quarters of the rate tells the two apart.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf

from synth.calls.pace import MARGIN, Pace
from synth.calls.refusals import (
    FIRST_PAUSE,
    LONGEST_WINDOW,
    Closed,
    Doubt,
    Epoch,
    Noise,
    Trial,
)
from synth.core.errors import Stopped, TeacherBusy
from synth.teachers.base import Limits

START = 16
# A learned rate creeps up by this part with every success, so that probing is refused once or twice
# in some 200 calls.
CREEP = 1.2e-4
# Successes that earn one more call in flight beyond the number that was once refused.
PROBE = 200
# After so many calls and seconds without a refusal a learned limit doubles every DOUBLING seconds:
# it is gone within a minute, and a server that still has it refuses one call in 180. What few calls
# taught is tried sooner.
CALM_CALLS = (20, 180)
CALM_SECONDS = (10.0, 25.0)
DOUBLING = 2.5
# What is left of a rate that was refused while it doubled.
OVERSHOT = 0.93
# A learned rate that is so many times what comes through holds nothing back any more.
UNUSED = 4.0
# Seconds after which a call looks again where this process may have none in flight.
NO_PLACE = 0.05


class Gate:
    """Admits calls to one endpoint and key.

    The limit on calls in flight doubles each round of clean successes while it is used, then grows
    by one a round, up to a ceiling that refusals lower. A single refusal costs 3 % of the rate and,
    where all places were taken, one place. Many refusals close the gate: calls go out one by one
    until one is answered, and what came through meanwhile is the rate. Two refusals that no limit
    explains start a trial (`Trial`): where fewer calls are refused as often, refusals have nothing
    to do with the load, and those are forgiven. A Retry-After closes the gate until then.

    Args:
        most: the user's --concurrency; the limit never exceeds it.
        rpm: requests a minute that the user grants, None for no limit.
        tpm: tokens a minute, in and out, None for no limit.
        start: calls in flight at first.

    Attributes:
        places: calls in flight at most that are this process's own, where several share them.
    """

    def __init__(
        self,
        most: int,
        rpm: float | None = None,
        tpm: float | None = None,
        *,
        start: int = START,
    ) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.places = most
        self.flying = 0
        self.requests = Pace(rpm)
        self.tokens = Pace(tpm)
        self._ceiling = float(most)
        self._slow_start = True
        self._open_at = self._cut_at = self._grown_at = 0.0
        self._out = self._calls = 0
        self._calm = CALM_CALLS[0]
        self._safe = 0.0
        self._series: Epoch | None = None
        self._epoch = Epoch(time.monotonic())
        self._doubt: Doubt | None = None
        self._closed: Closed | None = None
        self._took = 0.0  # seconds of the last reply
        self._trial: Trial | None = None
        self._noise: Noise | None = None
        self._queue: deque[asyncio.Future[None]] = deque()
        self._sleepers: set[asyncio.Future[None]] = set()
        self._shut: Stopped | None = None

    async def enter(self, tokens: float = 0.0) -> float:
        """Waits until a call of about so many tokens may go out; returns when it does.

        Raises:
            Stopped: the gate was shut, before or meanwhile.
        """
        if self._shut:
            raise self._word_of_end()
        if not self._has_room() or self._queue:
            await self._stand_in_line()
        else:
            self.flying += 1
        try:
            now = time.monotonic()
            while (wait := self._wait(now)) > 0:
                await self.rest(wait)
                now = time.monotonic()
        except BaseException:
            self._leave()
            raise
        self.requests.take(now, 1)
        self.tokens.take(now, tokens)
        self._out += 1
        epoch = self._epoch
        epoch.calls += 1
        epoch.peak = max(epoch.peak, self._out)
        if self._noise:
            self._noise.calls += 1
        if self._doubt:
            self._doubt.calls += 1
        if self._closed:
            self._closed.trying = True
        return now

    def bound(self, most: int) -> None:
        """From now on so many calls in flight are the most; what refusals taught stays."""
        learned = self._ceiling < self.most
        self._ceiling = min(self._ceiling, most) if learned else float(most)
        self.most = most
        self.limit = min(self.limit, self._ceiling)
        self._let_in()

    def is_full(self) -> bool:
        """Whether as many calls are in flight as may be."""
        return not self._has_room()

    def is_open(self) -> bool:
        """Whether a call would go out at once."""
        free = not self._queue and self._has_room()
        return free and self._wait(time.monotonic()) <= 0

    def _has_room(self) -> bool:
        return self.flying < min(int(self.limit), self.places)

    def closed_for(self) -> float:
        """Seconds for which a server asked all calls to wait, from now on."""
        return max(0.0, self._open_at - time.monotonic())

    def close_for(self, seconds: float) -> None:
        """No call goes out before so many seconds are over."""
        self._open_at = max(self._open_at, time.monotonic() + seconds)

    @property
    def waiting(self) -> int:
        """Calls that would go out if they might."""
        return len(self._queue) + self.flying - self._out

    def allot(self, places: int) -> None:
        """Calls in flight that are this process's own from now on."""
        self.places = places
        self._let_in()

    async def _stand_in_line(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if (
                waiter.done()
                and not waiter.cancelled()
                and not waiter.exception()
            ):
                self._leave()
            raise

    async def rest(self, seconds: float) -> None:
        """Sleeps so long, or until the gate is shut.

        Raises:
            Stopped: the gate was shut.
        """
        if self._shut:
            raise self._word_of_end()
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[None] = loop.create_future()
        self._sleepers.add(sleeper)
        timer = loop.call_later(seconds, _wake, sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)

    def shut(self, reason: Stopped) -> None:
        """No call goes out any more: whoever waits for one, or for its turn to ask again, leaves
        with the reason.
        """
        self._shut = self._shut or reason
        for waiter in (*self._queue, *self._sleepers):
            if not waiter.done():
                waiter.set_exception(self._word_of_end())
        self._queue.clear()

    def _word_of_end(self) -> Stopped:
        assert self._shut is not None  # noqa: S101 - the callers checked
        return Stopped(*self._shut.args)

    def _wait(self, now: float) -> float:
        if not self.places:
            return NO_PLACE
        if self._closed and self._closed.trying:
            return self._closed.pause
        return max(
            self._open_at - now, self.requests.wait(now), self.tokens.wait(now)
        )

    def _leave(self) -> None:
        self.flying -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and self._has_room():
            waiter = self._queue.popleft()
            if not waiter.done():
                self.flying += 1
                waiter.set_result(None)

    def succeeded(
        self,
        sent: float,
        limits: Limits | None = None,
        tokens: float = 0.0,
        expected: float = 0.0,
    ) -> None:
        """A call came back clean: what it really took is booked, and the limit grows where it was
        in use.
        """
        now = time.monotonic()
        self._took = now - sent
        self.tokens.take(now, tokens - expected)
        if limits:
            self._announced(limits)
        if self._closed:
            if sent >= self._closed.since:
                self._reopen(now)
        elif self._doubt and sent > self._doubt.sent:
            doubt = self._doubt
            self._doubt = None
            if (
                not (self._trial or self._slow_start)
                and doubt.sent > self._cut_at
                and now - self._cut_at > 1.0
            ):
                self._cut(now, doubt)
        elif self._trial and self._trial.failed(self._epoch, now):
            self.requests.learn(self._trial.rate * OVERSHOT)
            self._trial = self._series = None
        self._grow(now)
        self._out -= 1
        self._leave()

    def _grow(self, now: float) -> None:
        """Tries what was learned upwards, the more boldly the more successes and time stand behind
        it.
        """
        epoch = self._epoch
        epoch.replied(now)
        learned = self.requests.learned is not None or self._ceiling < self.most
        if learned and not self._trial:
            if self.requests.learned is not None:
                self.requests.grow(1 + CREEP)
                if (
                    epoch.replies % 100 == 0
                    and self.requests.learned
                    > UNUSED * (epoch.rate(now) or inf)
                ):
                    self.requests.learn(None)
            if self._ceiling < self.most:
                self._ceiling = min(self.most, self._ceiling + 1 / PROBE)
            if self._calmed(now):
                self._safe = self._safe or self.requests.learned or 0.0
                factor = 2 ** (min(1.0, now - self._grown_at) / DOUBLING)
                self.requests.grow(factor)
                self._ceiling = min(self.most, self._ceiling * factor)
        self._grown_at = now
        if self.limit >= self._ceiling:
            self._slow_start = False
        elif self.flying >= int(self.limit):
            self.limit = min(
                self._ceiling,
                self.limit + (1.0 if self._slow_start else 1.0 / self.limit),
            )

    def _calmed(self, now: float) -> bool:
        """Whether nothing was refused for so long that the limit may be gone."""
        seconds = (
            CALM_SECONDS[0]
            if self._calm < CALM_CALLS[1] / 2
            else CALM_SECONDS[1]
        )
        return (
            self._epoch.replies > self._calm
            and now - self._epoch.start > seconds
        )

    def _announced(self, limits: Limits) -> None:
        if limits.requests:
            self.requests.announce(limits.requests)
        if limits.tokens:
            self.tokens.announce(limits.tokens)

    def failed(
        self, error: BaseException, sent: float, expected: float = 0.0
    ) -> None:
        """A call came back with an error; refusals for load lower the limits."""
        now = time.monotonic()
        self.tokens.take(now, -expected)
        if isinstance(error, TeacherBusy):
            if error.limited:
                self._refused(now, sent, error.retry_after or 0.0)
            elif error.retry_after is not None:
                self._open_at = max(self._open_at, now + error.retry_after)
            elif error.kind == "timeout":
                self._timed_out(now, sent)
        if self._closed and sent >= self._closed.since:
            self._closed.trying = False
        self._out -= 1
        self._leave()

    def _timed_out(self, now: float, sent: float) -> None:
        """Half as many calls in flight, once for all that were sent before, where the server's
        replies are slow: it has more to do than it can. Where they are quick a call just hangs.
        """
        if self._took >= (now - sent) / 4 and sent > self._cut_at:
            self._cut_at = now
            self._slow_start = False
            self.limit = max(1.0, min(self.limit, self._out) / 2)

    def _refused(self, now: float, sent: float, retry_after: float) -> None:
        """Learns from a refusal."""
        self._epoch.refusals += 1
        noisy = self._noise is not None and self._noise.explains(now)
        if not (noisy and retry_after <= Trial.SHORT):
            self._open_at = max(self._open_at, now + retry_after)
        if noisy:
            return
        self._noise = None
        if self._closed:
            if sent >= self._closed.since:
                self._closed.refused(now)
                self._open_at = max(self._open_at, now + self._closed.pause)
            return
        if (
            self._trial
            and self._epoch.refusals >= Trial.TRIAL_PROOF
            and self._epoch.calls >= Trial.ENOUGH
        ):
            self._end_trial(now)
            return
        if self._doubt is None:
            self._doubt = Doubt(
                sent, crowded=self._crowded(), retry_after=retry_after
            )
            if self._doubt.crowded and not (
                self._trial or self._slow_start or self._free(retry_after)
            ):
                self.limit = self._ceiling = self._out - 1.0
            if (
                (self.requests.learned or 0.0)
                > (0.0 if retry_after else Trial.BRISK)
                and self.requests.learned
                and not self._trial
            ):
                # The rest of a server's window would be refused as well.
                self._open_at = max(
                    self._open_at, now + min(1.0, 5 / self.requests.learned)
                )
        self._doubt.refusals += 1
        if self._doubt.thick():
            self._close(now)

    def _close(self, now: float) -> None:
        """Many refusals: from now on calls go out one by one."""
        if self._crowded():
            self.limit = self._ceiling = self._out - 1.0
        self._trial = None
        self._doubt = None
        self._slow_start = False
        self._closed = Closed(now)
        self._open_at = max(self._open_at, now + FIRST_PAUSE)

    def _reopen(self, now: float) -> None:
        """The server answers again: what came through since the last lesson, this pause included,
        is the rate.
        """
        assert self._closed is not None  # noqa: S101 - the caller checked
        epoch = self._epoch
        closed = self._closed
        learned = self.requests.learned
        span = (
            closed.since
            - epoch.start
            + min(LONGEST_WINDOW, closed.last_refusal - closed.since)
        )
        self._closed = None
        self._cut_at = now
        if epoch.replies >= 5 and span > 0:
            self.requests.learn(epoch.replies / span * MARGIN)
            self._series = None
            self._next_epoch(now)
        elif learned is not None:
            self.requests.learn(learned * OVERSHOT)

    def _cut(self, now: float, doubt: Doubt) -> None:
        """One refusal among many replies: 3 % less, or a trial where the last one was but a few
        calls ago.
        """
        if self._free(doubt.retry_after):
            self._suspect(now)
            return
        epoch = self._epoch
        before = self._series
        learned = self.requests.learned
        safe = self._safe
        rate = epoch.rate(now)
        if learned is not None:
            rate = (
                learned
                if rate is None
                or (epoch.calls < Trial.EARLY and not doubt.retry_after)
                else min(learned, rate)
            )
        lower = (
            max(rate * OVERSHOT, min(safe, rate))
            if rate and safe
            else (rate or 0.0) * MARGIN
        )
        self._cut_at = now
        self._series = epoch
        self._next_epoch(now)
        if (
            rate
            and before
            and not (doubt.retry_after or safe)
            and self._calls >= Trial.SETTLED
            and epoch.calls < Trial.EARLY * epoch.refusals
        ):
            self._try(epoch, rate, Trial.TRIAL_SHARE)
            return
        if rate and not (doubt.crowded and learned is not None):
            self.requests.learn(lower)

    def _free(self, seconds: float) -> bool:
        """Whether no limit is known, nor spoken of by the server: what is refused singly costs
        nothing before a trial.
        """
        return (
            self.requests.learned is None
            and self._ceiling >= self.most
            and seconds <= Trial.SHORT
        )

    def _suspect(self, now: float) -> None:
        """One refusal among many replies while no limit is known."""
        epoch = self._epoch
        rate = self._epoch.rate(now)
        if epoch.calls > Trial.SELDOM * epoch.refusals:
            self._next_epoch(now)
        elif rate and epoch.refusals >= Trial.DOUBTS:
            self._cut_at = now
            self._next_epoch(now)
            self._try(epoch, rate, Trial.FIRST_TRIAL_SHARE)

    def _try(self, epoch: Epoch, rate: float, share: float) -> None:
        """Starts a trial at a share of the rate and of the places."""
        self._trial = Trial(epoch, rate)
        self.requests.learn(rate * share)
        self.limit -= int((1 - share) * self.limit)

    def _next_epoch(self, now: float) -> None:
        """What the next refusal teaches starts here; the more calls taught this one, the longer it
        is trusted.
        """
        self._calm = min(
            CALM_CALLS[1], max(CALM_CALLS[0], 2 * self._epoch.calls)
        )
        self._calls += self._epoch.calls
        self._epoch = Epoch(now)
        self._safe = 0.0

    def _crowded(self) -> bool:
        """Whether as many calls are out as ever since the last lesson: the server may count
        them.
        """
        return self._out >= max(
            Trial.FEW, self._epoch.peak, min(Trial.MANY, self.limit / 4)
        )

    def _end_trial(self, now: float) -> None:
        """Three refusals in a trial: they have nothing to do with the load, or the rate is lower
        than thought.
        """
        assert self._trial is not None  # noqa: S101 - the caller checked
        trial = self._trial
        epoch = self._epoch
        learned = self.requests.learned
        self._trial = None
        self._series = None
        self._doubt = None
        self._next_epoch(now)
        if trial.proven(epoch):
            self._noise = Noise(now, trial.share(epoch))
            self.requests.learn(None)
            self._ceiling = float(self.most)
            self._slow_start = True
        elif learned is not None:
            self.requests.learn(learned * OVERSHOT)

    def word(self) -> str:
        """What holds the calls back, for people; "" where nothing does."""
        now = time.monotonic()
        if self._closed:
            return f"every call is refused (429); one is tried every {self._closed.pause:.1f} s"
        if self._open_at - now > 1.0:
            return f"the server asks to wait {self._open_at - now:,.0f} s"
        if self._noise:
            return (
                f"{100 * self._noise.share:.1f} % of calls are refused (429) at any load; "
                "they are asked again"
            )
        if self.requests.learned is not None:
            places = (
                f", {int(self.limit):,} of {self.most:,} in flight"
                if self._ceiling < self.most
                else ""
            )
            return (
                f"{60 * self.requests.learned:,.0f} calls a minute{places}, learned from "
                "refusals (429)"
            )
        if self._ceiling < self.most:
            return f"{int(self.limit):,} of {self.most:,} in flight, learned from refusals (429)"
        return ""


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
