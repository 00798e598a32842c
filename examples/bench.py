"""What `synth run cot` costs beside a bare aiohttp loop: `make bench`. One run, ratios.

The bare loop is the one that everybody writes first: it asks the same prompts, as many at a time,
and writes each reply as a JSON line; nothing is checked, filtered or durable. CPU is user and
system time of the whole process, imports included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp

from examples import bench_crashes
from examples.bench_server import asked, question, run_words, teacher
from synth.inputs.seeds import write_jsonl


class Cost(NamedTuple):
    """Of one process: CPU seconds, seconds on the clock, peak memory in MB."""

    cpu: float
    wall: float
    memory: float


async def bare(url: str, source: Path, output: Path, most: int) -> None:
    """The loop that everybody writes first."""
    lines = iter(source.read_text().splitlines())
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most)
    ) as session:
        with output.open("w") as out:

            async def worker() -> None:
                for line in lines:
                    body = {
                        "model": "bench",
                        "messages": [
                            {
                                "role": "user",
                                "content": json.loads(line)["question"],
                            }
                        ],
                    }
                    async with session.post(
                        f"{url}/chat/completions", json=body
                    ) as response:
                        out.write(json.dumps(await response.json()) + "\n")

            await asyncio.gather(*(worker() for _ in range(most)))


def cost(command: list[str]) -> Cost:
    """Runs a command to its end."""
    started = time.monotonic()
    # Compiling every file anew in each process would be counted, too.
    env = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE"
    }
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env)  # noqa: S603 - our own words
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return Cost(
        usage.ru_utime + usage.ru_stime,
        time.monotonic() - started,
        usage.ru_maxrss / 1024,
    )


def questions(folder: Path, rows: int) -> Path:
    """A file of so many questions."""
    path = folder / f"{rows}.jsonl"
    write_jsonl(path, (question(n) for n in range(rows)))
    return path


def against_the_loop(
    folder: Path, rows: int, latency: float, most: int, times: int
) -> None:
    """CPU and rate beside the bare loop, taken in turns; medians."""
    source = questions(folder, rows)
    loops, runs = [], []
    with teacher(latency) as url:
        for n in range(times):
            loops.append(
                cost(
                    [
                        sys.executable,
                        "-m",
                        "examples.bench",
                        "--bare",
                        url,
                        str(source),
                        f"{folder}/bare",
                        str(most),
                    ]
                )
            )
            runs.append(
                cost(
                    run_words(
                        url,
                        source,
                        folder / f"run-{latency}-{n}",
                        "--concurrency",
                        str(most),
                    )
                )
            )
    loop, run = (
        Cost(
            *(statistics.median(column) for column in zip(*costs, strict=True))
        )
        for costs in (loops, runs)
    )
    print(
        f"{rows:,} rows, {1000 * latency:.0f} ms latency, {most} at a time, median of {times}"
    )
    print(
        f"  CPU a row: {1000 * run.cpu / rows:.3f} ms, bare loop {1000 * loop.cpu / rows:.3f} "
        f"ms: {run.cpu / loop.cpu:.2f} times"
    )
    print(
        f"  rate: {rows / run.wall:,.0f} rows/s, bare loop {rows / loop.wall:,.0f}: "
        f"{loop.wall / run.wall:.2f} times (start to end)"
    )


def again(folder: Path, rows: int) -> None:
    """The same command once more, and with another filter: no call."""
    source = questions(folder, rows)
    with teacher() as url:
        first = cost(run_words(url, source, folder / "again"))
        asked(url, "forget")
        second = cost(run_words(url, source, folder / "again"))
        changed = cost(
            run_words(
                url,
                source,
                folder / "again",
                "--set",
                "rationale.filters=[{name: length, most: 100}]",
            )
        )
        calls = asked(url).total()
    print(f"{rows:,} rows, finished, run again")
    print(
        f"  {second.wall:.1f} s, with another filter {changed.wall:.1f} s ({first.wall:.1f} s at "
        f"first); {calls} calls"
    )


def memory(folder: Path, few: int, many: int) -> None:
    """Peak memory of a short and of a long run."""
    with teacher() as url:
        small, large = (
            cost(
                run_words(
                    url, questions(folder, rows), folder / f"memory-{rows}"
                )
            ).memory
            for rows in (few, many)
        )
    print(
        f"peak memory: {small:.0f} MB at {few:,} rows, {large:.0f} MB at {many:,}: "
        f"{large / small:.2f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument(
        "--again",
        type=int,
        default=100_000,
        help="rows of the finished run that is run again",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=1_000_000,
        help="rows of the long run whose memory is measured",
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        url, source, output, most = options.bare
        asyncio.run(bare(url, Path(source), Path(output), int(most)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        against_the_loop(folder, options.rows, 0.0, 64, options.times)
        against_the_loop(folder, options.rows, 0.2, 512, options.times)
        again(folder, options.again)
        bench_crashes.kills(folder, options.kills)
        memory(folder, options.rows, options.most)


if __name__ == "__main__":
    main()
