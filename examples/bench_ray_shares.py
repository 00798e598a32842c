"""What shards on Ray share: a server's limit, an owner's place, and CPU. `python -m
examples.bench_ray_shares rate zombie cost`.

rate: four workers ask a server that lets 600 calls through in each minute and refuses the others
with a Retry-After, with and without `--rpm 600`. zombie: a worker is stopped (SIGSTOP) until its
shard has another owner, and goes on then (SIGCONT). cost: CPU a row beside that of one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import uvloop

from examples.bench_crashes import published
from examples.bench_ray import begun, family, victims
from examples.bench_server import Answers, asked, question, run_words, teacher
from synth.calls.lending import LEASE
from synth.inputs.seeds import write_jsonl

_PROCESSES = multiprocessing.get_context("spawn")
# Under which keys the server tells of refusals, and of calls that came more than a second after one
# in the same window.
REFUSED, LATE = -1, -2
TICK = os.sysconf("SC_CLK_TCK")


class Limited(Answers):
    """A server that lets so many calls through in each window."""

    window: ClassVar[float] = 60.0
    most: ClassVar[int] = 600
    opened: ClassVar[float] = 0.0
    used: ClassVar[int] = 0
    closed_at: ClassVar[float] = 0.0

    def _answer(self, number: int) -> None:
        cls = Limited
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= cls.opened + cls.window:
            cls.opened, cls.used, cls.closed_at = now, 0, 0.0
        if cls.used < cls.most:
            cls.used += 1
            loop.call_later(0.05, super()._answer, number)
            return
        Answers.asked[number] -= 1
        Answers.asked[REFUSED] += 1
        cls.closed_at = cls.closed_at or now
        Answers.asked[LATE] += now > cls.closed_at + 1
        left = cls.opened + cls.window - now
        self.transport.write(
            b"HTTP/1.1 429 X\r\nRetry-After: %.2f\r\nContent-Length: 2\r\n\r\n{}"
            % left
        )


def _serve(port: Any, window: float) -> None:
    async def work() -> None:
        Limited.window, Limited.most = window, int(10 * window)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Limited, "127.0.0.1", 0, backlog=4096)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


@contextmanager
def limited(window: float) -> Iterator[str]:
    """The server's URL; 600 calls a minute, counted in windows of so many seconds."""
    port = _PROCESSES.Queue()
    process = _PROCESSES.Process(target=_serve, args=(port, window))
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=60)}/v1"
    finally:
        process.kill()
        process.join()


def questions(folder: Path, rows: int) -> Path:
    """A file of so many seeds."""
    source = folder / f"{rows}.jsonl"
    write_jsonl(source, (question(n) for n in range(rows)))
    return source


def on_ray(workers: int, shards: int, *more: str) -> list[str]:
    """What makes of a command one on Ray."""
    shared = ["--on", "ray", "--workers", str(workers), "--shards", str(shards)]
    return [*shared, *more]


def rate(folder: Path, rows: int, window: float, *more: str) -> dict[str, Any]:
    """The share of the allowed rate, from the first call to the last, and late calls."""
    source = questions(folder, rows)
    output = folder / f"rate{len(more)}"
    with limited(window) as url:
        command = run_words(url, source, output, *on_ray(4, 4, *more))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        while not asked(url):
            time.sleep(0.05)
        start = time.monotonic()
        while _accepted(url) < rows and process.poll() is None:
            time.sleep(0.1)
        seconds = time.monotonic() - start
        process.wait()
        count = asked(url)
    return {
        "options": more,
        "rows": rows,
        "seconds": round(seconds, 1),
        "of the rate": round(rows / (10 * seconds), 3),
        "refused": count[REFUSED],
        "late": count[LATE],
    }


def _accepted(url: str) -> int:
    return sum(n for number, n in asked(url).items() if number >= 0)


# The command line has no option for how soon a silent worker is given up.
_IMPATIENT = """
import contextlib, pathlib, sys
from synth.pipeline.on_ray import Cluster, run_on_ray
from synth.pipeline.prepare import RunConfig

url, source, output = sys.argv[1:]
config = RunConfig(
    teachers={"teacher": "openai/bench"}, api_base=url, concurrency=8, shards=2
)
done = run_on_ray(
    "cot",
    source,
    pathlib.Path(output),
    config,
    cluster=Cluster(workers=2, lost_after=1.0),
    watch=lambda whole: contextlib.nullcontext(),
)
sys.exit(done.exit_code)
"""


def zombie(folder: Path, rows: int = 1500) -> dict[str, Any]:
    """What a worker does that was stopped while another one took its shard."""
    source = questions(folder, rows)
    with teacher(0.02) as url:
        one = folder / "one"
        plain = run_words(url, source, one, "--concurrency", "8")
        subprocess.run(plain, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        asked(url, "forget")
        output = folder / "zombie"
        given = [url, str(source), str(output)]
        command = [sys.executable, "-c", _IMPATIENT, *given]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        if not begun(process.pid, process):
            raise SystemExit("the run ended before it was disturbed")
        _wait(lambda: len(asked(url)) > rows // 10)
        stopped = victims(process.pid, "worker")[0]
        os.kill(stopped, signal.SIGSTOP)
        log = output / "shards" / "bank.log"
        _wait(lambda: b'"owner":2' in log.read_bytes())
        time.sleep(LEASE)
        before = asked(url)
        os.kill(stopped, signal.SIGCONT)
        process.wait()
        after = asked(url)
    rows_of_one, rows_of_many = published(one), published(output)
    rows_of_one.pop("run.json")
    rows_of_many.pop("run.json")
    return {
        "rows": rows,
        "asked twice before it went on": before.total() - len(before),
        "asked twice in all": after.total() - len(after),
        "as of one process": rows_of_one == rows_of_many,
        "exit code": process.returncode,
    }


def _wait(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.05)


def cpu(command: list[str]) -> float:
    """Seconds of CPU of a command and of all that it began, read while they live."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    seconds: dict[int, float] = {}
    while process.poll() is None:
        for one in [process.pid, *(pid for pid, _ in family(process.pid))]:
            try:
                text = Path(f"/proc/{one}/stat").read_text()
            except OSError:
                continue
            ticks = text.rpartition(")")[2].split()[11:13]
            seconds[one] = sum(map(int, ticks)) / TICK
        time.sleep(0.1)
    return sum(seconds.values())


def cost(folder: Path, rows: int = 40_000, few: int = 2_000) -> dict[str, Any]:
    """CPU a row of one process and of two workers; what a start takes is left out by the difference
    between many rows and few.
    """
    figures: dict[str, list[float]] = {"one process": [], "on Ray": []}
    with teacher() as url:
        for count in (few, rows):
            source = questions(folder, count)
            for name, more in (
                ("one process", []),
                ("on Ray", on_ray(2, 4)),
            ):
                output = folder / f"{name}-{count}"
                words = run_words(url, source, output, *more)
                figures[name].append(cpu(words))
    per_row = {
        name: 1000 * (many - little) / (rows - few)
        for name, (little, many) in figures.items()
    }
    return {
        "milliseconds of CPU a row": {
            name: round(value, 4) for name, value in per_row.items()
        },
        "ratio": round(per_row["on Ray"] / per_row["one process"], 3),
        "seconds": figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", choices=["rate", "zombie", "cost"])
    parser.add_argument("--window", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=1800)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in options.what:
            if what == "rate":
                for more in ([], ["--rpm", "600"]):
                    figures = rate(folder, options.rows, options.window, *more)
                    print(json.dumps({what: figures}), flush=True)
            else:
                figures = {"zombie": zombie, "cost": cost}[what](folder)
                print(json.dumps({what: figures}), flush=True)


if __name__ == "__main__":
    main()
