"""The journal keeps what it acknowledged, whatever happens to the end of the file."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.calls.journal import Journal, records
from synth.calls.journal_index import Index
from synth.core.errors import Stopped, WrongUse
from synth.core.records import Completion

KEYS = [f"{random.Random(n).getrandbits(256):064x}" for n in range(200)]
SOME = Completion("", prompt_tokens=3, completion_tokens=2)


def fill(folder: Path, keys: list[str]) -> None:
    async def work() -> None:
        journal = Journal(folder)
        try:
            await asyncio.gather(
                *(
                    journal.append(
                        key, b'{"n":"%s"}' % key[-8:].encode(), SOME, 0.5
                    )
                    for key in keys
                )
            )
        finally:
            await journal.close()

    asyncio.run(work())


def test_what_was_written_is_there_again(tmp_path):
    fill(tmp_path, KEYS[:100])
    fill(tmp_path, KEYS[100:])
    journal = Journal(tmp_path)
    assert len(journal) == 200
    assert all(
        journal.get(key) == b'{"n":"%s"}' % key[-8:].encode() for key in KEYS
    )
    assert journal.get("0" * 64) is None
    assert (
        journal.totals.replies,
        journal.totals.usd,
        journal.totals.prompt_tokens,
    ) == (200, 100.0, 600)
    assert [key for key, _ in records(tmp_path)] == KEYS
    journal.release()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 4000), tail=st.binary(max_size=20))
def test_any_torn_tail_is_cut_off_and_nothing_before_it(
    tmp_path_factory, cut, tail
):
    folder = tmp_path_factory.mktemp("torn")
    fill(folder, KEYS[:30])
    path = folder / "replies.log"
    whole = path.read_bytes()
    torn = whole[: min(cut, len(whole))]
    path.write_bytes(torn + tail.replace(b"\n", b""))
    journal = Journal(folder)
    survivors = torn.count(b"\n")
    assert len(journal) == survivors
    assert all(journal.get(key) for key in KEYS[:survivors])
    journal.release()
    fill(folder, KEYS[50:60])
    assert len(list(records(folder))) == survivors + 10


def test_a_flipped_bit_is_noticed_and_asked_again(tmp_path):
    fill(tmp_path, KEYS[:10])
    path = tmp_path / "replies.log"
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    path.write_bytes(raw)
    journal = Journal(tmp_path)
    assert (len(journal), journal.torn) == (9, 1)
    journal.release()


def test_a_second_run_on_the_folder_is_refused(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(WrongUse, match=f"process {os.getpid()}"):
        Journal(tmp_path)
    journal.release()
    Journal(tmp_path).release()


def test_a_full_disk_stops_cleanly(tmp_path, monkeypatch):
    real = os.write
    budget = [1500]

    def full(fd, view):
        taken = real(fd, view[: budget[0]]) if budget[0] else 0
        budget[0] -= taken
        if taken < len(view):
            raise OSError(28, "No space left on device")
        return taken

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Stopped, match="No space left"):
        fill(tmp_path, KEYS[:100])
    monkeypatch.undo()
    journal = Journal(tmp_path)
    assert 0 < len(journal) < 100
    journal.release()


def test_kill_9_loses_nothing_acknowledged(tmp_path):
    code = f"""
import asyncio, sys
from pathlib import Path
from synth.calls.journal import Journal
from synth.core.records import Completion
async def work():
    journal = Journal(Path({str(tmp_path)!r}))
    for n in range(10**6):
        key = f"{{n:064x}}"
        await asyncio.gather(*(journal.append(f"{{n:060x}}{{i:04x}}", b'{{"x":1}}', Completion("")) for i in range(50)))
        print(n, flush=True)
asyncio.run(work())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [int(process.stdout.readline()) for _ in range(20)][-1]
    process.kill()
    process.wait()
    journal = Journal(tmp_path)
    assert len(journal) >= 50 * (acknowledged + 1)
    assert journal.get(f"{acknowledged:060x}{49:04x}") == b'{"x":1}'
    journal.release()


def test_the_index_confirms_twins():
    index = Index()
    for n, key in enumerate(["f" * 16 + "0" * 48, "f" * 16 + "1" * 48, *KEYS]):
        index.add(key, n)
    assert index.get("f" * 64, lambda offset: offset == 1) == 1
    assert index.get("f" * 64, lambda offset: False) is None
    big = Index()
    for n in range(20_000):
        big.add(f"{n * 7919 + 1:016x}{0:048x}", n)
    assert all(
        big.get(f"{n * 7919 + 1:016x}{0:048x}", lambda offset, n=n: offset == n)
        == n
        for n in range(0, 20_000, 97)
    )


def test_calls_of_unknown_fate_count_as_spent_once_and_for_good(tmp_path):
    async def dies():
        journal = Journal(tmp_path)
        for key, usd in zip(KEYS[:4], (1.0, 2.0, 4.0, 8.0), strict=True):
            journal.intend(key, usd)
        await journal.append(KEYS[0], b"{}", SOME, 0.5)
        journal.no_reply(KEYS[1], 0.25)
        await asyncio.sleep(0.05)
        journal.release()

    asyncio.run(dies())
    for _ in range(3):
        journal = Journal(tmp_path)
        assert journal.totals.usd == 0.5 + 0.25 + 4.0 + 8.0
        assert len(journal) == 1
        journal.release()
    fill(tmp_path, KEYS[2:3])
    assert [key for key, _ in records(tmp_path)] == [KEYS[0], KEYS[2]]
    journal = Journal(tmp_path)
    assert journal.totals.usd == 12.75 + 0.5
    assert journal.get(KEYS[2])
    journal.release()
