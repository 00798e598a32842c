"""One run over many loopback servers of different speeds, which are killed and come back at random:
`python -m examples.bench_fleet --servers 4 16`.

Each server has four slots; server k of N answers k times as fast as the first. It is killed
(SIGKILL) after a few seconds, stays away for a moment, and comes back at another port, which it
writes into the folder that `--endpoints` names. The figures: rows lost, replies asked again by the
same command, whether the rows are those of one server, replies a second against what the servers
that were alive could give, and how far the share of each is from its speed over the time that it
was alive.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import multiprocessing
import random
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import uvloop

from examples.bench_crashes import published
from examples.bench_server import Answers, question, run_words, teacher
from synth.inputs.seeds import write_jsonl

SLOTS = 4
# Seconds of a life and of an absence.
LIFE, ABSENCE = (6.0, 15.0), (0.3, 2.0)
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass
class Diary:
    """What a server writes where its death takes nothing away.

    Attributes:
        begun: when the first reply of all servers was given; 0 before.
        answered: replies of all lives.
        last: when it gave the last one.
        unfound: seconds that slots waited for their first call of a life, from when the server
            listened: a moment before the folder names it.
        starved: seconds that slots waited for a further call.
    """

    begun: Any
    answered: Any = field(default_factory=lambda: _PROCESSES.Value("L", 0))
    last: Any = field(default_factory=lambda: _PROCESSES.Value("d", 0.0))
    unfound: Any = field(default_factory=lambda: _PROCESSES.Value("d", 0.0))
    starved: Any = field(default_factory=lambda: _PROCESSES.Value("d", 0.0))


class Slotted(Answers):
    """A server that works on so many requests at a time; the others wait in line.

    A slot begins the next request at the moment at which it was due to be free, however late this
    process wakes up on cores that it shares: its speed is that of the clock.

    Attributes:
        line: the requests that wait, each with its client, its number and when it came.
        free: when each slot that is free became so.
        born: when this life began.
        seconds: what a request takes.
        diary: of all lives.
    """

    line: ClassVar[deque[tuple[Slotted, int, float]]] = deque()
    free: ClassVar[list[float]] = []
    born: ClassVar[float] = 0.0
    seconds: ClassVar[float] = 0.0
    diary: ClassVar[Diary]

    def _answer(self, number: int) -> None:
        Slotted.line.append((self, number, time.monotonic()))
        Slotted.work()

    @classmethod
    def work(cls) -> None:
        """Takes from the line what there are slots for."""
        while cls.line and cls.free:
            client, number, came = cls.line.popleft()
            was_free = heapq.heappop(cls.free)
            begins = max(was_free, came)
            waited = cls.diary.starved
            if was_free == cls.born:
                waited = cls.diary.unfound
            if cls.diary.begun.value:
                since = max(was_free, cls.diary.begun.value)
                waited.value += max(0.0, begins - since)
            due = begins + cls.seconds
            asyncio.get_running_loop().call_later(
                max(0.0, due - time.monotonic()), cls.done, client, number, due
            )

    @classmethod
    def done(cls, client: Slotted, number: int, due: float) -> None:
        """One slot is free."""
        heapq.heappush(cls.free, due)
        cls.diary.answered.value += 1
        cls.diary.last.value = time.monotonic()
        if not cls.diary.begun.value:
            cls.diary.begun.value = cls.diary.last.value
        Answers._answer(client, number)  # noqa: SLF001 - the base's own way to answer
        cls.work()


def _serve(port: Any, seconds: float, diary: Diary) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Slotted, "127.0.0.1", 0, backlog=4096)
        Slotted.seconds, Slotted.diary = seconds, diary
        Slotted.born = time.monotonic()
        Slotted.free = [Slotted.born] * SLOTS
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


@dataclass
class Life:
    """A server that lives again and again.

    Attributes:
        rate: replies a second.
        place: the file that names it.
        alive: (from, to) of each life, in seconds of `time.monotonic`.
        diary: what it did in all lives.
    """

    number: int
    rate: float
    place: Path
    mortal: bool
    diary: Diary
    alive: list[tuple[float, float]] = field(default_factory=list)

    def go(self, stop: threading.Event) -> None:
        """Lives until it is stopped."""
        draw = random.Random(self.number)
        while not stop.is_set():
            port = _PROCESSES.Queue()
            process = _PROCESSES.Process(
                target=_serve,
                args=(port, SLOTS / self.rate, self.diary),
            )
            process.start()
            self.place.write_text(f"127.0.0.1:{port.get(timeout=60)}\n")
            born = time.monotonic()
            stop.wait(draw.uniform(*LIFE) if self.mortal else None)
            process.kill()
            self.alive.append((born, time.monotonic()))
            process.join()
            stop.wait(draw.uniform(*ABSENCE))

    def could(self, start: float, end: float) -> float:
        """Replies that it could give between two moments."""
        spans = [min(b, end) - max(a, start) for a, b in self.alive]
        return self.rate * sum(max(0.0, span) for span in spans)


def run(
    source: Path, output: Path, endpoints: str, at_once: int
) -> dict[str, Any]:
    """A run as a user starts it; what it says of itself."""
    more = ("--concurrency", str(at_once))
    words = run_words(endpoints, source, output, *more, reach="--endpoints")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    info: dict[str, Any] = json.loads((output / "run.json").read_text())
    return info


def _rows(folder: Path) -> dict[str, bytes]:
    files = published(folder)
    # It holds the settings, which differ.
    files.pop("run.json")
    return files


def measure(
    count: int, options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """The figures of a fleet of so many servers."""
    source = folder / "rows.jsonl"
    write_jsonl(source, (question(n) for n in range(options.rows)))
    with teacher(0.0) as url:
        run(source, folder / "one", url, 64)
    listed = folder / "servers"
    listed.mkdir()
    weights = range(1, count + 1)
    begun = _PROCESSES.Value("d", 0.0)
    lives = [
        Life(
            n,
            options.rate * n / sum(weights),
            listed / str(n),
            options.mortal,
            Diary(begun),
        )
        for n in weights
    ]
    stop = threading.Event()
    threads = [threading.Thread(target=life.go, args=(stop,)) for life in lives]
    for thread in threads:
        thread.start()
    while len(list(listed.iterdir())) < count:
        time.sleep(0.1)
    output = folder / "many"
    run_thread = threading.Thread(
        target=run, args=(source, output, str(listed), options.at_once)
    )
    run_thread.start()
    # The figures count from the first reply on: a process takes seconds to begin.
    run_thread.join()
    start = begun.value
    end = max(life.diary.last.value for life in lives)
    info = json.loads((output / "run.json").read_text())
    answered = sum(life.diary.answered.value for life in lives)
    run(source, output, str(listed), options.at_once)
    again = sum(life.diary.answered.value for life in lives) - answered
    stop.set()
    for thread in threads:
        thread.join()
    could = [life.could(start, end) for life in lives]
    shares = [
        life.diary.answered.value / most
        for life, most in zip(lives, could, strict=True)
    ]
    unfound = [life.diary.unfound.value * life.rate / SLOTS for life in lives]
    starved = [life.diary.starved.value * life.rate / SLOTS for life in lives]
    mean = sum(shares) / len(shares)
    return {
        "servers": count,
        "rows": options.rows,
        "lives": sum(len(life.alive) for life in lives),
        "lost": options.rows - info["counts"]["kept"],
        "asked again": again,
        "answered twice": answered - options.rows,
        "as of one server": _rows(output) == _rows(folder / "one"),
        "seconds": round(end - start, 1),
        "of what they could": round(options.rows / sum(could), 3),
        "lost until found": _part(unfound, could),
        "lost for want of calls": _part(starved, could),
        "share by speed, least": round(min(shares) / mean, 3),
        "share by speed, most": round(max(shares) / mean, 3),
    }


def _part(replies: list[float], could: list[float]) -> float:
    """The part of what servers could give."""
    return round(sum(replies) / sum(could), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument(
        "--rate", type=float, default=300.0, help="replies a second of all"
    )
    parser.add_argument(
        "--at-once", type=int, default=256, help="calls in flight"
    )
    parser.add_argument("--immortal", dest="mortal", action="store_false")
    options = parser.parse_args()
    for count in options.servers:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(count, options, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
