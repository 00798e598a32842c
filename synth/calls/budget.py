"""Money is reserved before a call and settled after it, so that the cap cannot be crossed."""

from __future__ import annotations

import asyncio

from synth.errors import BudgetReached


class Budget:
    """One ledger for all teachers of a run: spent + reserved never exceeds the cap.

    Args:
        cap: dollars; None for no cap.
        spent: dollars that earlier runs on the same journal have spent.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap, self.spent, self.reserved = cap, spent, 0.0
        self._settled = asyncio.Condition()

    async def reserve(self, usd: float) -> None:
        """Sets money aside for a call, waiting for calls in flight to give back what they do not need.

        Raises:
            BudgetReached: the call could cross the cap and nothing in flight can make room.
        """
        if self.cap is None:
            return
        async with self._settled:
            while self.spent + self.reserved + usd > self.cap:
                if self.reserved <= 1e-12:
                    raise BudgetReached(f"${self.spent:.4f} of ${self.cap:.4f} spent; the next call could cost ${usd:.4f}")
                await self._settled.wait()
            self.reserved += usd

    async def settle(self, reserved: float, cost: float) -> None:
        """Gives a reservation back and books what the call really cost."""
        if self.cap is None:
            return
        async with self._settled:
            self.reserved = max(0.0, self.reserved - reserved)
            self.spent += cost
            self._settled.notify_all()
