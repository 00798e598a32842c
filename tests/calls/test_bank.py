"""The bank as a plain class, on a clock of the test: money, permits, targets, owners, and its log after any death."""

from __future__ import annotations

import random
from math import inf

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.calls import bank as bank_module
from synth.calls.bank import PATIENCE, Bank
from synth.calls.lending import LEASE, Report, Use, fair
from synth.core.errors import Stopped, WrongUse


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_bank(tmp_path, clock):
    """Opens the bank of one folder; the one before is dead then."""
    banks = []

    def opened(plan="p", **how):
        if banks:
            banks.pop().close()
        banks.append(Bank(tmp_path, plan, now=clock, **how))
        return banks[0]

    yield opened
    for one in banks:
        one.close()


def begun(bank, *shards):
    """Owners of shards."""
    return {shard: bank.begin(shard)[0] for shard in shards}


def asks(bank, shard, owner=1, **what):
    return bank.renew(Report(shard, owner, **what))


@given(
    total=st.floats(0, 1e6),
    demands=st.lists(st.floats(0, inf), min_size=1, max_size=20),
)
def test_fair_shares_are_all_of_the_total_and_nobody_envies_a_smaller_demand(
    total, demands
):
    shares = fair(total, demands)
    assert sum(shares) == pytest.approx(total, rel=1e-9, abs=1e-9)
    assert all(share >= 0 for share in shares)
    least = total / len(demands)
    for share, demand in zip(shares, demands, strict=True):
        assert share >= min(demand, least) * (1 - 1e-9)


def test_dollars_that_are_lent_never_exceed_the_cap(open_bank):
    bank = open_bank(cap=10.0)
    begun(bank, 0, 1, 2)
    caps = [asks(bank, n, needs=1.0, wants=8.0).cap for n in range(3)]
    assert caps[0] >= 1
    assert sum(caps) <= 10
    again = asks(bank, 0, spent=1.0, cap=caps[0], needs=1.0, wants=100.0)
    assert again.cap + sum(caps[1:]) <= 10
    assert not again.is_last


def test_the_end_of_the_money_is_said_when_nothing_can_come_back(open_bank):
    bank = open_bank(cap=2.0)
    begun(bank, 0, 1)
    assert asks(bank, 0, needs=1.0, wants=2.0).cap == 2.0 / 2
    assert asks(bank, 1, needs=1.0, wants=1.0).cap == 1.0
    # The other one has a call in flight, of which money may come back.
    assert not asks(bank, 0, spent=1.0, cap=1.0, needs=0.5).is_last
    asks(bank, 1, spent=0.2, cap=0.2)
    lease = asks(bank, 0, spent=1.0, cap=1.0, needs=0.5, wants=0.5)
    assert (lease.cap, lease.is_last) == (1.5, False)
    assert asks(bank, 0, spent=1.5, cap=1.5, needs=0.5).is_last


def test_money_of_a_shard_that_died_is_waited_for_but_not_for_ever(
    open_bank, clock
):
    bank = open_bank(cap=1.0)
    begun(bank, 0, 1)
    asks(bank, 1, needs=1.0, wants=1.0)
    assert not asks(bank, 0, needs=0.5).is_last
    clock.time += LEASE + PATIENCE + 1
    assert asks(bank, 0, needs=0.5).is_last
    # Its next owner finds in the journal what was really spent.
    owner, wait = bank.begin(1)
    assert (owner, wait) == (2, 0)
    asks(bank, 1, owner, spent=0.1, cap=0.1, ended=True)
    assert asks(bank, 0, needs=0.5, wants=0.5).cap == pytest.approx(0.5)


def test_a_shard_has_one_owner_whose_lease_is_over_before_the_next(
    open_bank, clock
):
    bank = open_bank()
    assert bank.begin(3) == (1, 0.0)
    number, wait = bank.begin(3)
    assert number == 0
    assert 0 < wait <= LEASE
    asks(bank, 3)
    clock.time += LEASE - 0.1
    assert bank.begin(3)[0] == 0
    clock.time += 0.2
    assert bank.begin(3) == (2, 0.0)
    with pytest.raises(Stopped, match="another process owns 00003"):
        asks(bank, 3, 1)
    asks(bank, 3, 2, ended=True)
    assert bank.begin(3) == (3, 0.0)


def use(flying=0, closed_for=0.0, hungry=True, **limits):
    demand = inf if hungry else 1.0
    limits = {"places": 8.0, **limits}
    demands = dict.fromkeys(limits, demand)
    return {"gate": Use(limits, demands, flying, closed_for)}


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_of_a_limit_come_to_the_limit_and_never_above(
    open_bank, clock, count
):
    bank = open_bank()
    begun(bank, *range(count))
    for _ in range(4):
        shares = {}
        for shard in range(count):
            lease = asks(bank, shard, uses=use(requests=600.0))
            shares[shard] = lease.shares["gate"]
            held = [
                a.held.get(("gate", "requests"), 0.0)
                for a in bank.accounts.values()
            ]
            assert sum(held) <= 600 * (1 + 1e-9)
        clock.time += 0.4
    rates = [share["requests"] for share in shares.values()]
    assert sum(rates) == pytest.approx(600)
    assert min(rates) == pytest.approx(600 / count)
    places = [share["places"] for share in shares.values()]
    assert sum(places) <= 8
    assert min(places) >= 1


def test_who_needs_little_leaves_the_rest_to_others(open_bank, clock):
    bank = open_bank()
    begun(bank, 0, 1)
    for _ in range(3):
        idle = asks(bank, 0, uses=use(hungry=False, requests=100.0))
        busy = asks(bank, 1, uses=use(requests=100.0))
    assert idle.shares["gate"]["requests"] == pytest.approx(1.0)
    assert busy.shares["gate"]["requests"] == pytest.approx(99.0)
    # The share of a shard that is silent comes back when its lease is over.
    clock.time += LEASE + 0.1
    alone = asks(bank, 0, uses=use(requests=100.0))
    assert alone.shares["gate"]["requests"] == pytest.approx(100.0)


def test_calls_in_flight_keep_their_places(open_bank):
    bank = open_bank()
    begun(bank, 0, 1)
    asks(bank, 0, uses=use(flying=0))
    asks(bank, 0, uses=use(flying=8))
    assert asks(bank, 1, uses=use()).shares["gate"]["places"] == 0
    asks(bank, 0, uses=use(flying=3))
    assert asks(bank, 1, uses=use()).shares["gate"]["places"] == 4


def test_a_server_that_asks_to_wait_closes_the_gates_of_all(open_bank, clock):
    bank = open_bank()
    begun(bank, 0, 1)
    asks(bank, 0, uses=use(closed_for=30.0))
    clock.time += 0.3
    assert asks(bank, 1, uses=use()).closed_for["gate"] == pytest.approx(29.7)


def test_what_refusals_teach_one_shard_is_taught_to_all(open_bank):
    bank = open_bank()
    begun(bank, 0, 1)

    def learns(shard, learned):
        demands = {"places": inf, "requests": inf}
        told = {"gate": Use({"places": 8.0}, demands, learned=learned)}
        return asks(bank, shard, uses=told).taught.get("gate")

    assert learns(0, None) is None
    assert learns(1, None) is None
    assert learns(0, 300.0) == 150, "the other one has its part now"
    assert learns(1, 300.0) == 300, "each learned its own part: 600 in all"
    assert learns(0, 150.0) == 300, "what was told counts once"
    assert learns(0, 330.0) == 315, "growth of one adds up"
    assert learns(1, 240.0) == 285, "and so does a cut"
    assert learns(0, None) == 285, "who forgot is told again"
    asks(bank, 1, ended=True)
    assert learns(0, 285.0) == 570, "the part of a shard that ended goes on"


def test_rows_are_counted_over_all_shards_and_once(open_bank, clock):
    bank = open_bank(target=10)
    begun(bank, 0, 1)
    assert asks(bank, 0, kept=0).missing == 10
    asks(bank, 0, kept=6)
    assert asks(bank, 1, kept=3).missing == 4, "beside those of the others"
    assert bank.state().missing == 1
    # The next owner of a shard finds its rows again: they stay counted meanwhile.
    clock.time += LEASE + 1
    owner, _ = bank.begin(0)
    assert asks(bank, 0, owner, kept=0).missing == 7
    assert bank.state().missing == 1
    asks(bank, 0, owner, kept=5, ended=True)
    assert bank.state().missing == 2, "an end counts as it is"


def test_rows_of_other_draws_do_not_count(open_bank):
    bank = open_bank(target=10)
    begun(bank, 0)
    asks(bank, 0, kept=6, ended=True)
    assert open_bank(target=10).state().missing == 4
    assert open_bank("more draws", target=10).state().missing == 10


def test_a_bank_that_died_lends_no_dollar_twice(open_bank, clock, tmp_path):
    """Random shards that borrow, spend, give back and die, under a bank that dies at any moment, also within a line of its log."""
    rng = random.Random(7)
    cap = 20.0
    bank = open_bank(cap=cap)
    owners, may, spent = {}, {}, dict.fromkeys(range(4), 0.0)
    for _ in range(600):
        clock.time += rng.uniform(0, 0.5)
        shard = rng.randrange(4)
        if rng.random() < 0.05:
            bank = open_bank(cap=cap)
        elif rng.random() < 0.03:
            with (tmp_path / "bank.log").open("ab") as log:
                log.write(b'{"shard":0,"own')
            bank = open_bank(cap=cap)
        elif shard not in owners:
            number, _ = bank.begin(shard)
            if number:
                owners[shard], may[shard] = number, spent[shard]
        elif rng.random() < 0.1:
            del owners[shard]
            clock.time += LEASE
        else:
            spent[shard] += rng.uniform(0, may[shard] - spent[shard])
            may[shard] = rng.uniform(spent[shard], may[shard])
            lease = asks(
                bank,
                shard,
                owners[shard],
                spent=spent[shard],
                cap=may[shard],
                needs=0.1,
                wants=rng.uniform(0.1, 3),
            )
            if rng.random() < 0.9:  # else the answer is lost
                may[shard] = lease.cap
        assert sum(max(may.get(n, 0), spent[n]) for n in spent) <= cap + 1e-9
    assert sum(spent.values()) > cap - 2


def test_a_new_bank_lends_permits_when_old_leases_are_over(open_bank, clock):
    begun(open_bank(), 0)
    bank = open_bank()
    assert asks(bank, 0, uses=use()).shares["gate"]["places"] == 0
    assert bank.begin(0)[0] == 0
    clock.time += LEASE + 0.1
    assert asks(bank, 0, uses=use()).shares["gate"]["places"] == 8


def test_the_log_stays_short(open_bank, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_module, "MOST_BYTES", 2000)
    bank = open_bank(cap=100.0)
    begun(bank, 0)
    for n in range(200):
        spent = n / 10
        lease = asks(bank, 0, spent=spent, cap=spent, needs=0.1, wants=0.1)
    size = (tmp_path / "bank.log").stat().st_size
    assert size < 2500
    again = open_bank(cap=100.0)
    assert again.accounts[0].lent == lease.cap


def test_two_banks_hold_no_folder_together(open_bank, tmp_path, monkeypatch):
    open_bank()
    monkeypatch.setattr(bank_module, "LOCK_SECONDS", 0.0)
    with pytest.raises(WrongUse, match="a run in progress"):
        Bank(tmp_path, "p")


def test_a_silent_shard_is_named(open_bank, clock):
    bank = open_bank()
    begun(bank, 0, 1)
    asks(bank, 1, ended=True)
    assert bank.state(5.0).lost == {}
    clock.time += LEASE + 5.1
    assert bank.state(5.0).lost == {0: 1}


@settings(max_examples=20)
@given(data=st.binary(max_size=40))
def test_a_torn_end_of_the_log_is_left_out(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bank")
    first = Bank(folder, "p", cap=5.0)
    first.begin(2)
    lent = asks(first, 2, needs=1.0, wants=1.0).cap
    first.close()
    with (folder / "bank.log").open("ab") as log:
        log.write(data.replace(b"\n", b" "))
    again = Bank(folder, "p", cap=5.0)
    assert again.accounts[2].lent == lent
    again.close()
    for line in (folder / "bank.log").read_bytes().splitlines():
        orjson.loads(line)


def test_a_lease_says_what_no_shard_has_spent(open_bank):
    bank = open_bank(cap=10.0)
    owners = begun(bank, 1, 2)
    assert asks(bank, 1, owners[1], spent=1.0, wants=2.0).unspent == 9.0
    assert asks(bank, 2, owners[2], spent=0.5, wants=2.0).unspent == 8.5
    assert asks(bank, 1, owners[1], spent=2.0).unspent == 7.5
    # What a bank before this one lent counts as spent until its shard says otherwise.
    lent = sum(account.lent for account in bank.accounts.values())
    again = open_bank(cap=10.0)
    number, _ = again.begin(3)
    assert asks(again, 3, number).unspent == 10.0 - lent
    assert asks(open_bank(cap=None), 3, 1).unspent == inf
