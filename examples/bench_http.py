"""CPU of one call: the client of this project beside aiohttp, over a loopback server: `make
bench-http`.

Both post the same body and read the same reply, so many at a time. CPU is user and system time of a
process of its own, without its start; the rates say how fast calls go out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import orjson
import uvloop

from examples.bench_server import question, teacher
from synth.teachers.wire.http_client import Endpoint

Post = Callable[[bytes], Awaitable[object]]
# Requests a minute of a large account.
A_MINUTE = 10_000


async def drive(post: Post, calls: int, most: int, pause: float) -> float:
    """CPU seconds of so many calls, so many at a time, each after a pause."""
    bodies = (
        orjson.dumps(
            {"model": "bench", "messages": [{"role": "user", "content": text}]}
        )
        for text in (question(n)["question"] for n in range(calls))
    )

    async def worker() -> None:
        for body in bodies:
            await post(body)
            if pause:
                await asyncio.sleep(pause)

    before = sum(os.times()[:2])
    await asyncio.gather(*(worker() for _ in range(most)))
    return sum(os.times()[:2]) - before


async def own(url: str, calls: int, most: int, pause: float) -> float:
    endpoint = Endpoint(url, {"Content-Type": "application/json"}, 60.0)
    try:
        return await drive(endpoint.post, calls, most, pause)
    finally:
        await endpoint.close()


async def theirs(url: str, calls: int, most: int, pause: float) -> float:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most)
    ) as session:

        async def post(body: bytes) -> bytes:
            headers = {"Content-Type": "application/json"}
            async with session.post(
                url, data=body, headers=headers
            ) as response:
                return await response.read()

        return await drive(post, calls, most, pause)


CLIENTS = {"own": own, "aiohttp": theirs}


def measured(name: str, url: str, calls: int, most: int, pause: float) -> float:
    """CPU seconds of one client in a process of its own."""
    words = [name, url, str(calls), str(most), str(pause)]
    command = [sys.executable, "-m", "examples.bench_http", "--client", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(done.stdout)


def compare(url: str, calls: int, most: int, pause: float, times: int) -> None:
    """One line for a load."""
    costs = {name: [] for name in CLIENTS}  # type: dict[str, list[float]]
    for _ in range(times):
        for name in CLIENTS:
            costs[name].append(measured(name, url, calls, most, pause))
    mine, other = (
        1e6 * sorted(cost)[times // 2] / calls for cost in costs.values()
    )
    share = [100 * one * A_MINUTE / 60e6 for one in (mine, other)]
    print(
        f"{calls:,} calls, {most} at a time, pause {1000 * pause:.0f} ms: {mine:.0f} us a call, "
        f"aiohttp {other:.0f} us ({other / mine:.2f} times); at {A_MINUTE:,} a minute "
        f"{share[0]:.1f} and {share[1]:.1f} % of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        name, url, calls, most, pause = options.client
        loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        with loop as runner:
            print(
                runner.run(
                    CLIENTS[name](url, int(calls), int(most), float(pause))
                )
            )
        return
    with teacher(0.0) as base:
        url = f"{base}/chat/completions"
        compare(url, options.calls, 64, 0.0, options.times)
        # 64 workers that rest 0.384 s between calls make 10,000 calls a minute.
        compare(url, options.calls // 8, 64, 64 * 60 / A_MINUTE, options.times)


if __name__ == "__main__":
    main()
