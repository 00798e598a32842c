"""The bank of a run in shards: dollars, permits and a target, lent to the processes that run the
shards.

It is a plain class; what carries its messages is no matter. Each line of its log says what a shard
may have spent at most, written before the shard hears of it: who opens the log again lends nothing
twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor, inf
from pathlib import Path
from typing import BinaryIO

import orjson

from synth.calls.journal import Journal, in_progress
from synth.calls.lending import (
    LEASE,
    PLACES,
    REQUESTS,
    Lease,
    Report,
    Use,
    clock,
    fair,
)
from synth.core.errors import Stopped
from synth.core.records import Fields
from synth.processes.file_lock import InUse, locked

# Seconds after which money of a shard that is silent is not waited for.
PATIENCE = 30.0
# Bytes of a log that is written anew.
MOST_BYTES = 1 << 24
# Seconds that a bank waits for the one before it to be gone.
LOCK_SECONDS = 10.0
# Less is nothing: sums of thousands of prices are no rounder.
_NOTHING = 1e-9


@dataclass
class Account:
    """What the bank knows of a shard.

    Attributes:
        owner: number of the process that owns it, counted from 1; 0 before the first.
        lent: dollars that it may have spent, with those that it has.
        kept: rows that it has kept at most.
        live: whether its owner has not ended in order.
        until: when its lease is over.
        held: (gate, amount) -> what it has of it.
        taught: gate -> its part of what refusals taught, as it was told.
        last: what it said last.
    """

    owner: int = 0
    lent: float = 0.0
    kept: int = 0
    live: bool = False
    until: float = 0.0
    held: dict[tuple[str, str], float] = field(default_factory=dict)
    taught: dict[str, float] = field(default_factory=dict)
    last: Report | None = None

    def take(self, report: Report, until: float) -> None:
        """Books what its owner says."""
        self.last = report
        self.until = until
        self.live = not report.ended
        self.lent = max(report.cap, report.spent)
        if report.ended or report.kept > self.kept:
            self.kept = report.kept

    def holds(self, now: float) -> bool:
        """Whether its owner had a lease then."""
        return self.live and self.until > now

    def spent(self) -> float:
        """Dollars that it has spent; all that it may have, where its owner has said nothing."""
        return self.lent if self.last is None else self.last.spent

    def idle(self) -> float:
        """Dollars that it may still give back or spend."""
        spent = self.last.spent if self.last else 0.0
        return self.lent - spent

    def use(self, gate: str) -> Use | None:
        """What it does with a gate."""
        return self.last.uses.get(gate) if self.last else None


@dataclass(frozen=True)
class State:
    """What a panel shows, and whom to look after.

    Attributes:
        facts: what each shard said of itself.
        lost: shard -> owner, of those that have been silent for longer than was asked.
        missing: rows to the target.
    """

    facts: Mapping[int, object]
    lost: Mapping[int, int]
    missing: float


class Bank:
    """Lends what all shards share.

    Args:
        folder: where its log stands; one bank at a time holds it.
        plan: a hash of what is run: rows that were kept under another do not count.
        cap: dollars of all shards; None for no cap.
        target: rows that all shards should keep; None for all.
        journals: shard -> its journal, which says what it has spent where the log does not.
        now: a clock.

    Raises:
        WrongUse: another bank holds the folder.
    """

    def __init__(
        self,
        folder: Path,
        plan: str,
        *,
        cap: float | None = None,
        target: int | None = None,
        journals: Mapping[int, Path] | None = None,
        now: Callable[[], float] = clock,
    ) -> None:
        self.cap = cap
        self.target = target
        self._now = now
        self._plan = plan
        self._open_at: dict[str, float] = {}
        self._learned: dict[str, float] = {}
        self._lock = _lock(folder / "bank.lock")
        self._path = folder / "bank.log"
        self.accounts: dict[int, Account] = {}
        self._read()
        if cap is not None:
            self._count(journals or {})
        # Whoever holds a lease of the bank before this one may use it to its end.
        self._quiet_until = 0.0
        for account in self.accounts.values():
            if account.live:
                self._quiet_until = now() + LEASE
                account.until = self._quiet_until
        self._log = self._fresh_log()

    def _read(self) -> None:
        """Every account that stands in the log."""
        is_same = False
        for line in _lines(self._path):
            if "plan" in line:
                is_same = line["plan"] == self._plan
                continue
            shard = line["shard"]
            account = Account()
            account.owner = line["owner"]
            account.lent = line["lent"]
            account.live = line["live"]
            if is_same:
                account.kept = line["kept"]
            self.accounts[shard] = account

    def _count(self, journals: Mapping[int, Path]) -> None:
        """What shards have spent of which the log knows nothing: they were run without a bank."""
        for shard, folder in journals.items():
            file = folder / "replies.log"
            if shard in self.accounts or not file.is_file():
                continue
            journal = Journal(folder, writable=False)
            spent = journal.totals.usd
            self.accounts[shard] = Account(lent=spent)

    def _fresh_log(self) -> int:
        """A log that holds what is known, and no more, in place of the one before; open."""
        aside = self._path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(aside, flags, 0o600)
        lines: list[Fields] = [{"plan": self._plan}]
        for shard, account in self.accounts.items():
            line = _line(shard, account)
            lines.append(line)
        self._size = _write(log, lines)
        os.replace(aside, self._path)  # noqa: PTH105 - the atomic one
        return log

    def _note(self, shard: int) -> None:
        """What a shard has now is on the disk when this returns."""
        line = _line(shard, self.accounts[shard])
        self._size += _write(self._log, [line])
        if self._size > MOST_BYTES:
            os.close(self._log)
            self._log = self._fresh_log()

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._log)
        self._lock.close()

    def begin(self, shard: int) -> tuple[int, float]:
        """(number of a new owner, 0), or (0, seconds to wait) while another may hold a lease."""
        account = self.accounts.setdefault(shard, Account())
        wait = account.until - self._now()
        if account.live and wait > 0:
            return 0, wait
        account.owner += 1
        account.live = True
        account.until = self._now() + LEASE
        account.held = {}
        account.taught = {}
        account.last = None
        self._note(shard)
        return account.owner, 0.0

    def renew(self, report: Report) -> Lease:
        """Books what a shard says and lends it what it may have.

        Raises:
            Stopped: another process owns the shard by now.
        """
        shard = report.shard
        account = self.accounts.setdefault(shard, Account())
        if report.owner != account.owner or not account.live:
            said = f"another process owns {shard:05d}"
            raise Stopped("fenced", said)
        now = self._now()
        before = _line(shard, account)
        account.take(report, now + LEASE)
        busy = self._busy(now)
        is_last = self._lend(account, report, busy)
        shares = self._shares(account, report, busy)
        counts = self.cap is not None or self.target is not None
        if report.ended or (counts and _line(shard, account) != before):
            self._note(shard)
        cap = None
        if self.cap is not None:
            cap = account.lent
        return Lease(
            cap=cap,
            is_last=is_last,
            unspent=self._unspent(),
            shares=shares,
            closed_for=self._closed(report, now),
            taught=self._taught(account, report, busy),
            missing=self._missing() + account.kept,
            busy=max(1, len(busy)),
        )

    def _busy(self, now: float) -> list[Account]:
        """Accounts whose lease holds."""
        return [one for one in self.accounts.values() if one.holds(now)]

    def _missing(self) -> float:
        if self.target is None:
            return inf
        kept = [account.kept for account in self.accounts.values()]
        return self.target - sum(kept)

    def _unspent(self) -> float:
        """Dollars that no shard has spent, as far as they have said."""
        if self.cap is None:
            return inf
        spent = [one.spent() for one in self.accounts.values()]
        return self.cap - sum(spent)

    def _lend(
        self, account: Account, report: Report, busy: list[Account]
    ) -> bool:
        """Lends dollars; whether there are none left for what the shard needs, and none will come
        back.
        """
        if self.cap is None or report.ended:
            return False
        lent = [one.lent for one in self.accounts.values()]
        free = self.cap - sum(lent)
        if report.needs > free:
            return not self._may_come_back(account)
        part = free / (2 * max(1, len(busy)))
        most = max(report.needs, part)
        more = min(report.wants, free, most)
        account.lent += more
        return False

    def _may_come_back(self, account: Account) -> bool:
        """Whether calls in flight, of this shard or another, may cost less than was lent for
        them.
        """
        latest = self._now() - PATIENCE
        for one in self.accounts.values():
            is_awaited = one is account or one.holds(latest)
            if is_awaited and one.idle() > _NOTHING:
                return True
        return False

    def _shares(
        self, account: Account, report: Report, busy: list[Account]
    ) -> dict[str, dict[str, float]]:
        """What a shard gets of every gate's limits: no more than others have left."""
        shares: dict[str, dict[str, float]] = {}
        others = [one for one in busy if one is not account]
        quiet = self._now() < self._quiet_until
        for gate, use in report.uses.items():
            shares[gate] = {}
            for amount in use.limits:
                share = 0.0
                if not quiet:
                    share = _share(gate, amount, use, others)
                account.held[gate, amount] = share
                shares[gate][amount] = share
        return shares

    def _closed(self, report: Report, now: float) -> dict[str, float]:
        """Gate -> seconds that it stays closed, whoever met the server's word."""
        closed = {}
        for gate, use in report.uses.items():
            known = self._open_at.get(gate, 0.0)
            until = max(known, now + use.closed_for)
            self._open_at[gate] = until
            closed[gate] = max(0.0, until - now)
        return closed

    def _taught(
        self, account: Account, report: Report, busy: list[Account]
    ) -> dict[str, float]:
        """Gate -> a shard's part of what refusals taught all shards: what each of them learned of
        its own part, added up.
        """
        others = [one for one in busy if one is not account]
        for gate, use in report.uses.items():
            whole = self._learned.get(gate, 0.0)
            if use.learned is not None:
                whole += use.learned - account.taught.get(gate, 0.0)
                self._learned[gate] = whole
            if whole > 0:
                part = _part(gate, REQUESTS, whole, use, others)
                account.taught[gate] = part
        return dict(account.taught)

    def state(self, silent: float = PATIENCE) -> State:
        """How the shards stand.

        Args:
            silent: seconds without a word after which a shard counts as lost.
        """
        latest = self._now() - silent
        facts = {}
        lost = {}
        for shard, account in self.accounts.items():
            last = account.last
            if last is not None:
                facts[shard] = last.facts
            if account.live and account.until < latest:
                lost[shard] = account.owner
        return State(
            facts,
            lost,
            self._missing(),
        )


def _share(gate: str, amount: str, use: Use, others: list[Account]) -> float:
    """A part of one amount, of what the others do not hold of it."""
    total = use.limits[amount]
    wanted = _part(gate, amount, total, use, others)
    held = [_held(other, gate, amount) for other in others]
    free = max(0.0, total - sum(held))
    if amount != PLACES:
        return min(wanted, free)
    wanted = max(1.0, wanted)
    return floor(min(wanted, free))


def _part(
    gate: str, amount: str, total: float, use: Use, others: list[Account]
) -> float:
    """A fair part of one amount."""
    demands = [use.demands[amount]]
    for other in others:
        its_use = other.use(gate)
        if its_use is not None:
            demand = its_use.demands.get(amount, 0.0)
            demands.append(demand)
    return fair(total, demands)[0]


def _held(account: Account, gate: str, amount: str) -> float:
    """What an account has of an amount; calls in flight stay so until they are back."""
    key = gate, amount
    held = account.held.get(key, 0.0)
    use = account.use(gate)
    if use is None or amount != PLACES:
        return held
    return max(held, use.flying)


def _line(shard: int, account: Account) -> Fields:
    return {
        "shard": shard,
        "owner": account.owner,
        "lent": account.lent,
        "kept": account.kept,
        "live": account.live,
    }


def _write(log: int, lines: list[Fields]) -> int:
    """Puts lines on the disk; how many bytes they are."""
    option = orjson.OPT_APPEND_NEWLINE
    parts = [orjson.dumps(line, option=option) for line in lines]
    text = b"".join(parts)
    os.write(log, text)
    os.fdatasync(log)
    return len(text)


def _lines(path: Path) -> Iterator[Fields]:
    """The lines of a log, without what a crash tore off at its end."""
    text = b""
    if path.is_file():
        text = path.read_bytes()
    whole, _, _ = text.rpartition(b"\n")
    for line in whole.splitlines():
        yield orjson.loads(line)


def _lock(path: Path) -> BinaryIO:
    """A lock that is held until it is closed; a bank that was just killed is waited for.

    Raises:
        WrongUse: another bank holds it.
    """
    try:
        return locked(path, patience=LOCK_SECONDS)
    except InUse as error:
        raise in_progress(path, error) from error
