"""The seeds that are under way at once; they leave in input order, whichever is through first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

from synth.core.errors import BudgetReached, PotstillError, Stopped, fault_of
from synth.core.records import Exit, Sample, Seed

# Seeds, and characters of their replies, that may be through and wait behind a slow one: some 100
# MB in all.
AHEAD = 10_000
AHEAD_CHARACTERS = 20_000_000


class Window:
    """Keeps a bounded number of seeds in flight and lets their exits leave in input order.

    Args:
        walk: walks one seed.
        leave: takes the exits of one seed; called in input order.
        width: seeds in flight at most. Many more may be through and wait behind a slow one, once
            the first have left; until then four times as many.

    Attributes:
        stop: what ended the run early; no further seed starts.
        wanted: how many seeds should have started and not left now at most, None where nothing
            bounds them; 0 means that there are enough rows.
        paces: a seed whose place in the input is at or behind a multiple of one of these numbers
            starts only when all seeds before that multiple have left.
    """

    def __init__(
        self,
        walk: Callable[[Seed], Any],
        leave: Callable[[int, list[Exit]], None],
        width: int,
    ) -> None:
        self.walk = walk
        self.leave = leave
        self.width = width
        self.stop: PotstillError | KeyboardInterrupt | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self.paces: Sequence[int] = ()
        self.wanted: Callable[[], float] | None = None
        # By place: samples asked, their exits, characters of their replies.
        self._done: dict[int, tuple[int, list[Exit], int]] = {}
        self._taken = self._left = self._waiting_characters = 0
        self._sleeping: list[asyncio.Future[None]] = []

    def end(self, reason: PotstillError | KeyboardInterrupt) -> None:
        """From now on no seed starts and nothing is asked; what is in flight comes in."""
        self.stop = self.stop or reason
        self.on_stop()
        self._wake()

    async def run(self, seeds: Iterable[Seed]) -> None:
        """Walks all seeds, or as many as start before `stop` is set."""
        stream = iter(seeds)
        await asyncio.gather(*(self._worker(stream) for _ in range(self.width)))
        for index in sorted(self._done):
            asked, exits, _ = self._done[index]
            self.leave(asked, exits)
        self._done.clear()

    async def _worker(self, stream: Any) -> None:
        wanted = inf
        while not self.stop:
            if self.wanted is not None and (wanted := self.wanted()) <= 0:
                return
            if self._full() or self._taken - self._left >= wanted:
                sleeper = asyncio.get_running_loop().create_future()
                self._sleeping.append(sleeper)
                await sleeper
                continue
            seed = next(stream, None)
            if seed is None:
                return
            index = self._taken
            self._taken = self._taken + 1
            await self._one(index, seed)

    def _full(self) -> bool:
        """Whether so much waits behind the seed that leaves next that no other may start."""
        begun = self._taken
        for pace in self.paces:
            if begun // pace * pace > self._left:
                return True
        ahead = begun - self._left
        if ahead < 5 * self.width:
            return False
        return (
            self._left < self.width
            or ahead >= AHEAD
            or self._waiting_characters >= AHEAD_CHARACTERS
        )

    async def _one(self, index: int, seed: Seed) -> None:
        try:
            self._finished(index, *await self.walk(seed))
        except (Stopped, BudgetReached) as error:
            self.end(error)
        except PotstillError:
            raise
        except Exception as error:  # noqa: BLE001 - a row that breaks a part must stay one row
            detail = fault_of(error)[:300]
            self._finished(
                index,
                1,
                [
                    Exit(
                        "failed",
                        Sample(seed, seed.fields),
                        f"error_{type(error).__name__}",
                        detail,
                    )
                ],
            )

    def _finished(self, index: int, asked: int, exits: list[Exit]) -> None:
        """One seed is through; it leaves, with those that waited for it, once all before it have
        left.
        """
        characters = _characters(exits)
        self._done[index] = asked, exits, characters
        self._waiting_characters += characters
        while self._left in self._done:
            asked, exits, characters = self._done.pop(self._left)
            self._waiting_characters -= characters
            self.leave(asked, exits)
            self._left += 1
        self._wake()

    def _wake(self) -> None:
        """Lets every worker that waited look again."""
        sleeping = self._sleeping
        self._sleeping = []
        for sleeper in sleeping:
            if not sleeper.done():
                sleeper.set_result(None)


def _characters(exits: list[Exit]) -> int:
    """Of the replies with which a seed leaves."""
    return sum(
        [len(str(exit_.sample.fields.get("reply") or "")) for exit_ in exits]
    )
