"""Money is reserved before a call and settled after it, so that the cap cannot be crossed."""

from __future__ import annotations

import asyncio
from collections import deque

from synth.core.errors import BudgetReached

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
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self.spent = spent
        self.reserved = 0.0
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

    def _admit(self, cap: float) -> None:
        """Lets in who is first in line, while the money lasts."""
        while self._waiting:
            usd, turn = self._waiting[0]
            fits = self.spent + self.reserved + usd <= cap
            if not fits and self._flying and not turn.done():
                return
            self._waiting.popleft()
            if turn.done():
                continue
            if fits:
                self._flying += 1
                self.reserved += usd
                turn.set_result(None)
            else:
                turn.set_exception(
                    BudgetReached(
                        f"${self.spent:.4f} of ${cap:.4f} spent; the next call could cost "
                        f"${usd:.4f}"
                    )
                )
