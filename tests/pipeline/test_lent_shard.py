"""Shards that share dollars, permits and a target, in threads around one bank: what Ray carries, without Ray."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synth.calls.bank import Bank
from synth.calls.lending import LEASE
from synth.core.errors import Stopped
from synth.pipeline.lent_shard import Job, run_shard
from synth.pipeline.merge import Terms, join
from synth.pipeline.prepare import RunConfig
from synth.pipeline.shards import write_plan
from synth.runs.shard_owner import owned
from synth.runs.shard_plan import ShardPlan, shard_folder
from tests.conftest import chat, serving
from tests.pipeline.test_shards import CORPUS, answer, files_of, rows_of

# Dollars a call: 11 tokens in, 7 out, at a million dollars a million tokens.
PRICE, A_CALL = "1000000,1000000", 18.0


class Together:
    """A planned run whose shards run in threads.

    `away`: how many questions in a row the bank does not answer.
    """

    def __init__(self, rows, folder: Path, server, shards=4, **how):
        self.folder = folder
        self.config = RunConfig(
            teachers={"teacher": "openai/m"},
            api_base=server.url,
            keep_going=True,
            shards=shards,
            **how,
        )
        write_plan("cot", rows, folder, self.config, together=True)
        self.plan = ShardPlan.read(folder)
        self.lock = threading.Lock()
        self.bank = self.open_bank()
        self.away = 0
        self.leases = []

    def open_bank(self):
        return Bank(
            self.folder / "shards",
            self.plan.pack_hash,
            cap=self.config.budget,
            target=self.config.target,
        )

    def reopen(self):
        """The bank dies and comes back."""
        with self.lock:
            self.bank.close()
            self.bank = self.open_bank()

    def begin(self, shard):
        with self.lock:
            return self.bank.begin(shard)

    async def renew(self, report):
        with self.lock:
            if self.away:
                self.away -= 1
                raise ConnectionError("the bank is away")
            self.leases.append(self.bank.renew(report))
            return self.leases[-1]

    def run(self, shard):
        config = {**self.config.values, "shard": shard, "target": None}
        job = Job("cot", self.folder, RunConfig(**config), str(self.folder))
        return run_shard(job, self.begin, self.renew)

    def all(self, workers=2):
        with ThreadPoolExecutor(workers) as threads:
            done = list(threads.map(self.run, range(self.plan.shards)))
        self.bank.close()
        return done


def one_run(rows, folder, server, **how):
    import synth

    how = {"api_base": server.url, "keep_going": True, **how}
    return synth.run("cot", rows, teacher="openai/m", output=folder, **how)


@pytest.fixture(autouse=True)
def back(tmp_path, monkeypatch):
    """Shards go to another folder: the process comes back."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("overrides", [{}, CORPUS])
def test_shards_around_a_bank_give_the_bytes_of_one_run(tmp_path, overrides):
    rows = rows_of(80)
    with serving(answer) as server:
        one = one_run(rows, tmp_path / "one", server, overrides=overrides)
        asked = len(server.bodies)
        many = Together(rows, tmp_path / "many", server, overrides=overrides)
        assert {done.stopped for done in many.all()} == {None}
        assert len(server.bodies) == 2 * asked
    merged = join(tmp_path / "many", Terms())
    assert merged.counts == one.counts
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    # The folders bear no mark of who wrote them: a shard may be run alone, too.
    assert list((tmp_path / "many" / "shards").glob("*.owner-*")) == []
    assert (
        "/proc/"
        not in (shard_folder(tmp_path / "many", 0) / "run.json").read_text()
    )


def test_a_finished_shard_stands_also_where_its_owner_died_at_the_very_end(
    tmp_path,
):
    rows = [{"question": f"[{n}] How many?", "target": "3"} for n in range(20)]
    with serving(lambda body, count: chat("Some.\n#### 3")) as server:
        Together(rows, tmp_path, server, shards=2).all()
        before = files_of(shard_folder(tmp_path, 0))
        (tmp_path / "shards" / "00000.owner-1").touch()
        again = Together(rows, tmp_path, server, shards=2)
        assert {done.exit_code for done in again.all()} == {0}
        assert len(server.bodies) == 20
        facts = again.bank.state().facts
    assert sum(tally.kept for tally, _ in facts.values()) == 20
    assert files_of(shard_folder(tmp_path, 0)) == before
    assert join(tmp_path, Terms()).counts["kept"] == 20


def test_the_teachers_bill_stays_under_the_cap_of_all(tmp_path):
    rows = rows_of(60)
    cap = 60.0 * A_CALL

    def reply(body, count):
        return chat("There are some.\n#### 3")

    with serving(reply) as server:
        how = {
            "price": PRICE,
            "overrides": {"rationale.sampling.max_tokens": 7},
        }
        many = Together(rows, tmp_path, server, budget=cap, **how)
        ends = many.all(workers=4)
        assert {done.exit_code for done in ends} <= {0, 4}
        billed = A_CALL * len(server.bodies)
        assert 0 < billed <= cap
        lent = sum(a.lent for a in many.bank.accounts.values())
        assert lent == pytest.approx(billed), "all that was lent is back"
        # What is left is less than the cheapest of the calls that wait may cost.
        least = min(
            float(re.search(r"could cost \$([\d.]+)", done.stopped)[1])
            for done in ends
            if done.stopped
        )
        assert billed > cap - least
        # With more dollars the same shards go on, and pay for nothing twice.
        more = Together(rows, tmp_path, server, budget=1e6, **how)
        assert {done.exit_code for done in more.all()} == {0}
        assert len(server.bodies) == 60
    assert join(tmp_path, Terms()).counts["asked"] == 66


def test_a_bank_that_dies_or_is_away_changes_nothing(tmp_path):
    rows = rows_of(60)
    with serving(answer) as server:
        one_run(rows, tmp_path / "one", server)
        asked = len(server.bodies)
        how = {"budget": 1e6, "price": PRICE, "concurrency": 4}
        how["overrides"] = {"rationale.sampling.max_tokens": 100}

        def slowly(body, count):
            time.sleep(0.01)
            if count == asked + 20:
                many.away = 3
            if count == asked + 40:
                many.reopen()
            return answer(body, count)

        server.answer = slowly
        many = Together(rows, tmp_path / "many", server, **how)
        assert {done.stopped for done in many.all()} == {None}
        assert len(server.bodies) == 2 * asked
        assert many.away == 0
    merged = join(tmp_path / "many", Terms())
    assert merged.counts["asked"] == 66


@pytest.mark.parametrize("target", [1, 25])
def test_exactly_so_many_rows_are_kept_of_all_shards(tmp_path, target):
    rows = [{"question": f"[{n}] How many?", "target": "3"} for n in range(120)]
    with serving(answer) as server:
        many = Together(rows, tmp_path, server, target=target, concurrency=2)
        assert {done.stopped for done in many.all(workers=3)} == {None}
        assert len(server.bodies) < 110, "not all seeds are asked"
    merged = join(tmp_path, Terms(target=target))
    assert merged.counts["kept"] == target
    assert merged.kept.num_rows == target
    assert merged.exit_code in (0, 3)
    assert merged.info["complete"]
    counts = merged.counts
    assert counts["asked"] == target + sum(counts["dropped"].values()) + sum(
        counts["failed"].values()
    )


def test_limits_hold_for_all_shards_together(tmp_path):
    """Calls in flight: no more than all may have, and all of them used."""
    flying = most = 0
    lock = threading.Lock()

    async def reply(body, count):
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        await asyncio.sleep(0.02)
        with lock:
            flying -= 1
        return chat("There are some.\n#### 3")

    with serving(reply) as server:
        many = Together(rows_of(120), tmp_path, server, concurrency=6)
        many.all(workers=4)
    assert 4 <= most <= 6


def test_who_lost_its_shard_asks_nobody_and_writes_nothing(tmp_path):
    """The bank is away for longer than a lease holds, and gives the shard to another owner then."""
    rows = rows_of(40)

    async def slowly(body, count):
        await asyncio.sleep(0.05)
        if count == 5:
            many.away = 10**9
        return answer(body, count)

    with serving(slowly) as server:
        many = Together(rows, tmp_path, server, shards=1, concurrency=1)
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(many.run, 0)
            while not many.away:
                time.sleep(0.01)
            time.sleep(LEASE + 0.2)
            asked = len(server.bodies)
            number = 0
            while not number:
                number, wait = many.begin(0)
                time.sleep(wait)
            with owned(shard_folder(tmp_path, 0), number) as folder:
                journal = folder / "journal" / "replies.log"
                before = journal.read_bytes()
                many.away = 0
                with pytest.raises(Stopped):
                    first.result()
                assert journal.read_bytes() == before
                assert not (folder / "run.json").exists()
            assert len(server.bodies) == asked < 44
        many.bank.accounts[0].until = 0.0
        many.bank.close()
        again = Together(rows, tmp_path, server, shards=1)
        assert {done.stopped for done in again.all(1)} == {None}
    assert join(tmp_path, Terms()).counts["asked"] == 44
