"""The side of a process that runs one shard: its budget and its gates hold what the bank of all
shards lends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf

from synth.calls.admission import Gate
from synth.calls.budget import Budget
from synth.calls.lending import (
    EVERY,
    LEASE,
    PLACES,
    REQUESTS,
    TOKENS,
    Lease,
    Report,
    Use,
    clock,
)
from synth.calls.pace import Pace
from synth.core.errors import PotstillError, Stopped, TeacherBusy, fault_of

# Seconds between two questions to the bank at least, between two where it had nothing to lend, and
# those for which it may be away.
SOONEST, SOON, LONGEST_ABSENCE = 0.03, 0.1, 120.0
# What a gate is thought to need beyond what it used of late.
GROWTH = 1.25

Renew = Callable[[Report], Awaitable[Lease]]


@dataclass(frozen=True)
class Facts:
    """What a shard says of itself: rows kept, and whatever a panel shows."""

    kept: int
    shown: object = None


class Borrower:
    """What one process borrows for one shard.

    Args:
        shard: its number.
        owner: the number under which this process owns it.
        renew: asks the bank.

    Attributes:
        lease: what the bank said last.
        until: when the lease is over, by `clock`.
    """

    def __init__(self, shard: int, owner: int, renew: Renew) -> None:
        self.shard = shard
        self.owner = owner
        self.lease = Lease()
        self.until = 0.0
        self.budget = Budget(None)
        self.renew = renew
        self._gates: dict[str, _Lent] = {}
        self._due = asyncio.Event()
        self._renewed = asyncio.Event()
        self._end: PotstillError | None = None
        self._admitted = 0.0
        self._measured_at = clock()
        self._a_second = 0.0

    def lent_budget(self, cap: float | None, spent: float) -> Budget:
        """The budget of the shard; of the cap it has only what it has spent, until more is lent."""
        if cap is not None:
            self.budget = Budget(spent, spent)
            self.budget.hopes = True
            self.budget.on_need = self._due.set
        return self.budget

    def add(self, name: str, gate: Gate) -> None:
        """A gate lets out what is lent, from now on; nothing yet."""
        if name not in self._gates:
            gate.allot(0)
            self._gates[name] = _Lent(gate)

    def holds(self) -> bool:
        """Whether the lease is not over."""
        return clock() < self.until

    def check(self) -> None:
        """Raises TeacherBusy where a call may not go out now: the lease is over."""
        if not self.holds():
            raise TeacherBusy("no_lease", "the lease is over", at_once=True)

    async def permit(self) -> None:
        """Waits until the lease holds.

        Raises:
            Stopped: no lease will come any more.
        """
        while not self.holds():
            if self._end is not None:
                raise self._end
            self._renewed.clear()
            self._due.set()
            await self._renewed.wait()

    @contextlib.asynccontextmanager
    async def lending(
        self, facts: Callable[[], Facts], stop: Callable[[PotstillError], None]
    ) -> AsyncIterator[None]:
        """Renews the lease while this lasts, and gives everything back at its end.

        Args:
            facts: what is said of the shard.
            stop: is told once why no lease comes any more.
        """
        await self._once(facts())
        task = asyncio.create_task(self._keep(facts, stop))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with contextlib.suppress(Exception):
                await self.renew(self._report(facts(), ended=True))

    async def _keep(
        self, facts: Callable[[], Facts], stop: Callable[[PotstillError], None]
    ) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                starved = any(lent.starved for lent in self._gates.values())
                async with asyncio.timeout(SOON if starved else EVERY):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._once(facts())
            except Stopped as error:
                self._end = error
                self._renewed.set()
                stop(error)
                return
            await asyncio.sleep(SOONEST)

    async def _once(self, facts: Facts) -> None:
        """One lease, of a bank that may be away for a while.

        Raises:
            Stopped: another process owns the shard, or the bank stays away.
        """
        latest = clock() + LONGEST_ABSENCE
        while True:
            asked_at = clock()
            try:
                lease = await self.renew(self._report(facts))
            except Stopped:
                raise
            except Exception as error:
                if clock() > latest:
                    raise Stopped("bank", fault_of(error)) from error
                await asyncio.sleep(EVERY)
            else:
                self._take(lease, asked_at + LEASE)
                return

    def _report(self, facts: Facts, *, ended: bool = False) -> Report:
        """What this shard has and wants; what it does not need is given back with it."""
        waiting = self.budget.waiting()
        lately = self._lately()
        cap = 0.0
        if self.budget.cap is not None:
            keep = 0.0 if waiting or ended else lately
            cap = self.budget.give_back(keep)
        needs = waiting[0] if waiting else 0.0
        uses = {name: lent.use() for name, lent in self._gates.items()}
        return Report(
            self.shard,
            self.owner,
            spent=self.budget.spent,
            cap=cap,
            needs=needs,
            wants=sum(waiting) + lately,
            uses=uses,
            kept=facts.kept,
            facts=facts.shown,
            ended=ended,
        )

    def _lately(self) -> float:
        """Dollars that were set aside within a second, as it was last measured."""
        now = clock()
        seconds = now - self._measured_at
        if seconds >= EVERY / 2:
            admitted = self.budget.admitted
            self._a_second = (admitted - self._admitted) / seconds
            self._admitted = admitted
            self._measured_at = now
        return self._a_second

    def _take(self, lease: Lease, until: float) -> None:
        self.lease = lease
        self.until = until
        if lease.cap is not None:
            self.budget.lend(lease.cap, hopes=not lease.is_last)
        for name, shares in lease.shares.items():
            lent = self._gates[name]
            lent.allot(shares)
            seconds = lease.closed_for[name]
            lent.gate.close_for(seconds)
            lent.learn(lease.taught.get(name))
        self._renewed.set()


class _Lent:
    """A gate, and what it took between two reports; `starved` where nothing is lent to it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.starved = True
        self._paces = {REQUESTS: gate.requests, TOKENS: gate.tokens}
        self._said: float | None = None
        self._taken = dict.fromkeys(self._paces, 0.0)
        self._asked_at = clock()

    def use(self) -> Use:
        """What the gate does."""
        gate = self.gate
        now = clock()
        seconds = max(EVERY, now - self._asked_at)
        minutes = seconds / 60
        self._asked_at = now
        wanted = gate.flying + gate.waiting + 1
        limits = {PLACES: float(gate.most)}
        demands = {PLACES: float(wanted)}
        for amount, pace in self._paces.items():
            demands[amount] = self._demand(amount, pace, minutes)
            if pace.limit is not None:
                limits[amount] = pace.limit
        self._said = gate.requests.learned
        learned = None
        if self._said is not None:
            learned = 60 * self._said
        return Use(
            limits,
            demands,
            gate.flying,
            gate.closed_for(),
            learned,
        )

    def learn(self, a_minute: float | None) -> None:
        """Takes what refusals taught all shards, unless they have just taught this one more."""
        pace = self.gate.requests
        if a_minute is not None and pace.learned == self._said:
            pace.learn(a_minute / 60)

    def _demand(self, amount: str, pace: Pace, minutes: float) -> float:
        taken = pace.taken - self._taken[amount]
        self._taken[amount] = pace.taken
        if self.gate.waiting:
            return inf
        return GROWTH * taken / minutes

    def allot(self, shares: Mapping[str, float]) -> None:
        """Takes a part of each amount; without any of one of them, no call goes out."""
        for amount, pace in self._paces.items():
            if shares.get(amount):
                pace.allot(shares[amount])
        self.starved = any(not share for share in shares.values())
        self.gate.allot(0 if self.starved else int(shares[PLACES]))
