"""Money is reserved before a call and settled after it, so that the cap cannot be crossed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from synth.core.errors import BudgetReached, WrongUse
from synth.core.money import dollars

# Failures after which a provider may still have billed the call.
UNKNOWN_FATE = {
    "timeout",
    "connection",
    "broken_reply",
    "invalid_reply",
    "empty_choices",
}


class Budget:
    """One ledger for all teachers of a run: spent + reserved never exceeds the cap.

    Near the end calls wait, first come first served, until those in flight give back what they did
    not need.

    Args:
        cap: dollars; None for no cap.
        spent: dollars that earlier runs on the same journal have spent.

    Attributes:
        hopes: whether a call that does not fit waits for a higher cap, with nothing in flight too.
        on_need: called when a call begins to wait.
        admitted: dollars that were ever set aside.

    Raises:
        WrongUse: a cap below 0, or one that is no number.
    """

    hopes = False
    on_need: Callable[[], None] | None = None

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        # Not `cap < 0`: no comparison with NaN holds, so that it would cap nothing.
        if cap is not None and not cap >= 0:
            raise WrongUse(
                "budget",
                str(cap),
                "dollars from 0 up",
                "Say how much it may cost.",
            )
        self.cap = cap
        self.spent = spent
        self.reserved = 0.0
        self.admitted = 0.0
        self._flying = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def reserve(self, usd: float) -> None:
        """Sets money aside for a call.

        Raises:
            BudgetReached: the call could cross the cap and nothing in flight can make room.
        """
        if self.cap is None:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((usd, turn))
        self._admit(self.cap)
        if self.on_need and not turn.done():
            self.on_need()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.settle(usd, 0.0)
            raise

    def settle(self, reserved: float, cost: float) -> None:
        """Gives a reservation back and books what the call really cost."""
        if self.cap is not None:
            self._flying -= 1
            # With nothing in flight nothing is reserved, whatever thousands of additions and
            # subtractions have left.
            self.reserved = (
                max(0.0, self.reserved - reserved) if self._flying else 0.0
            )
            self.spent += cost
            self._admit(self.cap)
            if self.on_need and self._waiting:
                self.on_need()

    def waiting(self) -> list[float]:
        """Dollars of each call that waits, in its order."""
        return [usd for usd, turn in self._waiting if not turn.done()]

    def give_back(self, keep: float) -> float:
        """Lowers the cap so that so many dollars at most are neither spent nor reserved; the
        cap.
        """
        needed = self.spent + self.reserved + keep
        self.cap = min(self.cap or 0.0, needed)
        return self.cap

    def lend(self, cap: float, *, hopes: bool) -> None:
        """Another cap; with `hopes` it may rise again."""
        self.cap = cap
        self.hopes = hopes
        self._admit(cap)

    def _admit(self, cap: float) -> None:
        """Lets in who is first in line, while the money lasts."""
        while self._waiting:
            usd, turn = self._waiting[0]
            fits = self.spent + self.reserved + usd <= cap
            if not fits and not turn.done() and (self._flying or self.hopes):
                return
            self._waiting.popleft()
            if turn.done():
                continue
            if fits:
                self._flying += 1
                self.reserved += usd
                self.admitted += usd
                turn.set_result(None)
            else:
                turn.set_exception(
                    BudgetReached(
                        f"{dollars(self.spent)} of {dollars(cap)} spent; the next call could cost "
                        f"{dollars(usd)}"
                    )
                )
