"""A server that is slow is waited for; one that hangs is not; timeouts of a slow one lower the number in flight."""

from __future__ import annotations

import asyncio
import time

import pytest

from synth.calls.admission import Gate
from synth.core.errors import TeacherBusy
from tests.calls.test_faults import rows, run
from tests.conftest import chat, serving


def two_at_a_time(seconds):
    """Answers of a server that works on two requests at a time, for so long each."""
    slots = []

    async def answer(body, count):
        if not slots:
            slots.append(asyncio.Semaphore(2))
        async with slots[0]:
            await asyncio.sleep(seconds)
        return chat("8 + 5 = 13\n#### 13")

    return answer


def test_requests_in_a_slow_servers_queue_are_not_asked_twice(tmp_path):
    with serving(two_at_a_time(0.4)) as server:
        done = run(server, tmp_path, rows(16), concurrency=16, timeout=1.0)
    assert done.counts["kept"] == 16
    assert len(server.bodies) == 16


def test_a_call_that_hangs_at_a_quick_server_ends_with_its_timeout(tmp_path):
    hung = []

    async def answer(body, count):
        if count == 5:
            hung.append(time.monotonic())
            await asyncio.sleep(6)
        if hung and "asked" not in hung and count > 16:
            hung.extend([time.monotonic(), "asked"])
        return chat("8 + 5 = 13\n#### 13")

    with serving(answer) as server:
        done = run(server, tmp_path, rows(16), concurrency=16, timeout=0.5)
    assert done.counts["kept"] == 16
    assert len(server.bodies) == 17
    assert hung[1] - hung[0] < 3


@pytest.mark.parametrize(("took", "limit"), [(0.0, 16), (30.0, 8)])
def test_timeouts_of_a_slow_server_halve_the_calls_in_flight_once(
    took, limit, monkeypatch
):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    async def scene():
        gate = Gate(64)
        sent = [await gate.enter() for _ in range(16)]
        clock[0] += took
        gate.succeeded(sent.pop())
        sent.append(await gate.enter())
        before = gate.limit
        clock[0] += 60.0
        for moment in sent:
            gate.failed(TeacherBusy("timeout", "late"), moment)
        return before, gate.limit

    before, after = asyncio.run(scene())
    assert before >= 16
    assert after == pytest.approx(limit if took else before, abs=1)
