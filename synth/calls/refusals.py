"""What the gate remembers of refusals, and what each memory proves."""

from __future__ import annotations

# A closed gate is tried after this pause, then after pauses that grow by a quarter.
FIRST_PAUSE = 0.05
PAUSE_GROWTH = 1.25
# Windows of servers are no longer than this; what lasts longer is no rate but an outage.
LONGEST_WINDOW = 60.0
# So many refusals, and so large a share of the calls since the first of them, close the gate.
THICK_REFUSALS = 4
THICK_SHARE = 0.4
# What a trial found is tried again after so many seconds and calls.
STALE_SECONDS = 60.0
STALE_CALLS = 5000
# The longest pause between two calls to a server that refuses all.
LONGEST_PAUSE = 15.0
# The calls that each refusal of a trial must come within, and the seconds after which a trial
# without any is over.
TRIAL_CALLS = 150
QUIET_SECONDS = 25.0


class Epoch:
    """What came since the last lesson: calls that went out, replies, refusals, and the rate of the
    replies.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.calls = 0
        self.replies = 0
        self.refusals = 0
        self.peak = 0
        self._marks = [(start, 0), (start, 0)]

    def replied(self, now: float) -> None:
        """One reply; the rate is that of the last 100 to 200 of them."""
        self.replies += 1
        if (
            self.replies - self._marks[1][1] >= 100
            and now - self._marks[1][0] >= 2.0
        ):
            self._marks = [self._marks[1], (now, self.replies)]

    def rate(self, now: float) -> float | None:
        """Replies a second of late; None where there are too few to say."""
        start, before = self._marks[0]
        count = self.replies - before
        span = now - start
        return count / span if count >= 5 and span > 0.5 else None


class Doubt:
    """Refusals of which it is not yet known whether they are single ones: no call that went out
    later has been answered.

    Args:
        sent: when the first of them went out.
        crowded: whether as many calls as ever were out when it came back.
        retry_after: seconds that the server asked to wait for: it knows of a limit then.
    """

    def __init__(
        self, sent: float, *, crowded: bool, retry_after: float
    ) -> None:
        self.sent = sent
        self.crowded = crowded
        self.retry_after = retry_after
        self.calls = self.refusals = 0

    def thick(self) -> bool:
        """Whether they are so many of the calls since that nothing gets through."""
        return (
            self.refusals >= THICK_REFUSALS
            and self.refusals >= THICK_SHARE * self.calls
        )


class Closed:
    """A gate that tries one call at a time."""

    def __init__(self, now: float) -> None:
        self.since = self.last_refusal = now
        self.pause = FIRST_PAUSE
        self.trying = False

    def refused(self, now: float) -> None:
        """The call that was tried came back refused."""
        self.last_refusal = now
        self.pause = min(LONGEST_PAUSE, self.pause * PAUSE_GROWTH)


class Trial:
    """Fewer calls for a while, to see whether they are refused as often.

    Args:
        epoch: the calls before it, between two refusals.
        rate: calls a second before it.
    """

    # Fewer calls than this in flight are not what a server refuses for.
    FEW = 3
    # So many are, and fewer only where they are a quarter of the places: a slow rate alone keeps
    # few in flight.
    MANY = 5
    # Fewer calls than this between two refusals of a paced gate are too few for a limit that was
    # passed by creeping.
    EARLY = 110
    # Fewer calls than this say nothing about shares.
    ENOUGH = 50
    # Calls a second from which a pause after a refusal costs little.
    BRISK = 10.0
    # Before so many calls a limit is still being found, and no trial starts.
    SETTLED = 300
    # The part of the rate and of the places of a trial, and the refusals that decide it.
    TRIAL_SHARE = 0.75
    TRIAL_PROOF = 3
    # While no limit is known, so many refusals among replies start a trial, of that part; fewer
    # cost nothing, and neither do those that come once in SELDOM calls: a real limit refuses many
    # calls at once.
    DOUBTS = 5
    FIRST_TRIAL_SHARE = 0.85
    SELDOM = 400
    # Seconds that a server may ask to wait for without knowing of a limit.
    SHORT = 0.2

    def __init__(self, epoch: Epoch, rate: float) -> None:
        self.rate = rate
        self.calls = epoch.calls
        self.refusals = epoch.refusals

    def proven(self, epoch: Epoch) -> bool:
        """Whether refusals have nothing to do with the load."""
        before = self.refusals / max(1, self.calls)
        return epoch.refusals >= epoch.calls * before / 3

    def failed(self, epoch: Epoch, now: float) -> bool:
        """Whether so few are refused that the load explains it."""
        quiet = not epoch.refusals and now - epoch.start > QUIET_SECONDS
        return quiet or epoch.calls >= TRIAL_CALLS * (1 + epoch.refusals)

    def share(self, epoch: Epoch) -> float:
        """The share of refusals before and in it."""
        return (self.refusals + epoch.refusals) / max(
            1, self.calls + epoch.calls
        )


class Noise:
    """A share of refusals that has nothing to do with the load."""

    def __init__(self, since: float, share: float) -> None:
        self.since = since
        self.share = share
        self.calls = self.refusals = self.all = 0

    def explains(self, now: float) -> bool:
        """Whether one more refusal is no more than was to be expected of the last few hundred
        calls.
        """
        self.refusals += 1
        expected = self.share * self.calls
        if self.calls > 400:
            self.all += self.calls // 2
            self.calls = self.calls // 2
            self.refusals = self.refusals // 2
        stale = (
            now - self.since > STALE_SECONDS
            and self.all + self.calls > STALE_CALLS
        )
        return self.refusals <= 3 + 2 * expected and not stale
