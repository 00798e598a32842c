"""What a process that runs a shard and the bank of all shards say to each other.

A lease says what the process may do within about a second: dollars, calls in flight, requests and
tokens a minute. Without a lease that holds, it asks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

# Seconds that a lease holds, and seconds between two of them.
LEASE, EVERY = 1.5, 0.4
# The name of calls in flight among the amounts of a gate; the others are amounts a minute.
PLACES = "places"
REQUESTS, TOKENS = "requests", "tokens"


def clock() -> float:
    """Seconds that go on while a process, or the whole machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Use:
    """What a shard does with one gate.

    Attributes:
        limits: amount -> what all shards together may have of it: calls in flight (`places`),
            `requests` and `tokens` a minute.
        demands: amount -> what this shard would use of it, `inf` where calls wait.
        flying: its calls in flight.
        closed_for: seconds for which a server asked to wait.
        learned: requests a minute that refusals taught, None where they taught nothing.
    """

    limits: Mapping[str, float]
    demands: Mapping[str, float]
    flying: int = 0
    closed_for: float = 0.0
    learned: float | None = None


@dataclass(frozen=True)
class Report:
    """What a shard says when it asks for a lease.

    Attributes:
        owner: the number under which its process owns the shard.
        spent: dollars of all its calls.
        cap: dollars that its process may spend in all; what it lowered by itself is given back.
        needs: dollars without which it cannot go on, 0 where it can.
        wants: dollars of the calls that wait, and of those of the last second.
        uses: gate -> what it does with it.
        kept: rows that it has kept.
        facts: whatever a panel shows.
        ended: whether it asks for nothing more.
    """

    shard: int
    owner: int
    spent: float = 0.0
    cap: float = 0.0
    needs: float = 0.0
    wants: float = 0.0
    uses: Mapping[str, Use] = field(default_factory=dict)
    kept: int = 0
    facts: object = None
    ended: bool = False


@dataclass(frozen=True)
class Lease:
    """What a shard may do for `LEASE` seconds from when it asked.

    Attributes:
        cap: dollars that it may spend in all, with what it has spent; None for no cap.
        is_last: whether no dollar will come any more.
        unspent: dollars of the cap of all shards that none has spent.
        shares: gate -> amount -> its own part.
        closed_for: gate -> seconds in which no call may go out.
        taught: gate -> its own part of the requests a minute that refusals taught all of them.
        missing: rows that are wanted beside those of the other shards.
        busy: shards that are run now.
    """

    cap: float | None = None
    is_last: bool = False
    unspent: float = inf
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    closed_for: Mapping[str, float] = field(default_factory=dict)
    taught: Mapping[str, float] = field(default_factory=dict)
    missing: float = inf
    busy: int = 1


def fair(total: float, demands: Sequence[float]) -> list[float]:
    """Shares of a total: small demands are met whole, the others share alike, and what is left is
    shared alike too (max-min fairness: Bertsekas and Gallager, Data Networks, 6.5.2).

    >>> fair(10, [1, float("inf"), float("inf")]), fair(10, [1, 3])
    ([1.0, 4.5, 4.5], [4.0, 6.0])
    """
    shares = [0.0] * len(demands)
    left = total
    ranked = sorted(range(len(demands)), key=lambda n: demands[n])
    for place, n in enumerate(ranked):
        shares[n] = min(demands[n], left / (len(ranked) - place))
        left -= shares[n]
    return [share + left / len(shares) for share in shares]
