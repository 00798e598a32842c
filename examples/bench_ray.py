"""Runs in shards on a Ray of their own whose processes are killed at random moments:
`python -m examples.bench_ray --kills 100`.

A run is started, and every few seconds one of its processes is killed (SIGKILL): a worker, the
raylet, the bank, or the command itself. What ends with it is started again by the same command. At
the end: rows lost, bytes that differ from those of one process, calls asked twice, and what the
teacher's own count bills. Half of the runs have a budget that ends them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from examples.bench_crashes import published
from examples.bench_server import asked, question, run_words, teacher
from synth.inputs.seeds import write_jsonl

ROWS, LATENCY, AT_ONCE, WORKERS, SHARDS = 4000, 0.05, 16, 2, 6
# Dollars a million tokens; each reply of the server has 60 tokens in and 80 out. Before it a call
# counts with what it could cost at most, $0.74: so much may be left of a budget.
PRICE, A_CALL = "1000,1000", 0.14
# What a victim's process is called, as a whole or in part.
VICTIMS = {"worker": "ray::_task", "bank": "ray::Bank", "raylet": "/raylet "}
# Seconds between two kills, and for which a command may hang after one.
BETWEEN, HANGING = (1.0, 4.0), 180.0
BUDGET_REACHED, MACHINE = 4, 5
# Commands that the machine may end before that is a fault of the run's.
MOST_ENDED = 20


@dataclass
class Figures:
    """What kills came to."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    commands: int = 0
    lost: int = 0
    differing: int = 0
    repeated: int = 0
    most_repeated: float = 0.0
    over_the_cap: int = 0
    most_unspent: float = 0.0
    hung: int = 0
    ended: int = 0


def family(pid: int) -> Iterator[tuple[int, str]]:
    """(process, its command line) of all that a process has begun."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(text.rpartition(")")[2].split()[1])
    inside = {pid}
    while more := {p for p, up in parents.items() if up in inside} - inside:
        inside |= more
    for process in inside - {pid}:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            continue
        yield process, words.replace(b"\0", b" ").decode(errors="replace")


def victims(pid: int, kind: str) -> list[int]:
    """Processes of a command that are of a kind."""
    if kind == "driver":
        return [pid]
    return [one for one, line in family(pid) if VICTIMS[kind] in f"{line} "]


def words(url: str, source: Path, output: Path, *more: str) -> list[str]:
    """The command line of a run in shards."""
    more = ("--concurrency", str(AT_ONCE), "--price", PRICE, *more)
    more = (*more, "--set", "rationale.sampling.max_tokens=100")
    return run_words(url, source, output, *more)


def on_ray(*more: str) -> list[str]:
    """What makes of it one on Ray."""
    return [
        *("--on", "ray", "--workers", str(WORKERS), "--shards", str(SHARDS)),
        *more,
    ]


def begun(pid: int, process: subprocess.Popen[bytes]) -> bool:
    """Waits until a worker is at work; false where the command ends before."""
    while process.poll() is None:
        if victims(pid, "worker"):
            return True
        time.sleep(0.1)
    return False


def disturbed(
    command: list[str],
    figures: Figures,
    most: int,
    draw: random.Random,
    said: Path,
) -> int:
    """Runs a command, kills and starts again until it ends; its exit code.

    What the machine ends (no Ray, which takes long to begin where others fill the cores) is started
    again too. What the last command said of itself stands in the file `said`.
    """
    while True:
        with said.open("w") as file:
            process = subprocess.Popen(  # noqa: S603
                command, stdout=subprocess.DEVNULL, stderr=file
            )
        figures.commands += 1
        fatal = False
        while begun(process.pid, process) and figures.kills.total() < most:
            time.sleep(draw.uniform(*BETWEEN))
            kind = draw.choice([*VICTIMS, "driver"])
            found = victims(process.pid, kind)
            if process.poll() is not None or not found:
                continue
            os.kill(draw.choice(found), signal.SIGKILL)
            figures.kills[kind] += 1
            fatal = kind in ("raylet", "driver")
            if fatal:
                break
        try:
            code = process.wait(HANGING)
        except subprocess.TimeoutExpired:
            figures.hung += 1
            process.kill()
            code = process.wait()
        figures.ended += code == MACHINE and not fatal
        if not fatal and (code != MACHINE or figures.ended > MOST_ENDED):
            return code


def lent(output: Path) -> float:
    """Dollars that the bank's log counts as spent."""
    known: dict[int, float] = {}
    for line in (output / "shards" / "bank.log").read_bytes().splitlines():
        value = json.loads(line)
        if "shard" in value:
            known[value["shard"]] = value["lent"]
    return sum(known.values())


def known(folder: Path) -> Figures:
    """What earlier commands found."""
    file = folder / "figures.json"
    if not file.is_file():
        return Figures()
    value = json.loads(file.read_text())
    return Figures(**{**value, "kills": Counter(value["kills"])})


def one_run(
    url: str, folder: Path, figures: Figures, draw: random.Random, most: int
) -> None:
    """A run that is killed until so many kills are done, and what came of it."""
    source = folder / "rows.jsonl"
    whole = published(folder / "one")
    rows = json.loads(whole.pop("run.json"))["counts"]["asked"]
    output = folder / "killed"
    shutil.rmtree(output, ignore_errors=True)
    asked(url, "forget")
    before = figures.kills.total()
    is_bound = figures.runs % 2 == 1
    cap = A_CALL * rows * (0.6 if is_bound else 100)
    command = words(url, source, output, *on_ray("--budget", f"{cap:.2f}"))
    code = disturbed(command, figures, most, draw, folder / "said.txt")
    figures.runs += 1
    count = asked(url)
    figures.over_the_cap += A_CALL * count.total() > cap
    repeated = count.total() - len(count)
    figures.repeated += repeated
    killed = figures.kills.total() - before
    share = repeated / max(1, killed)
    figures.most_repeated = max(figures.most_repeated, share)
    if is_bound:
        unspent = cap - lent(output)
        figures.most_unspent = max(figures.most_unspent, unspent)
        figures.differing += code != BUDGET_REACHED
        return
    files = published(output) if code == 0 else {"run.json": b"{}"}
    info = json.loads(files.pop("run.json"))
    kept = info["counts"]["kept"] if info else 0
    figures.lost += rows - kept
    figures.differing += files != whole


def kills(folder: Path, most: int, seed: int = 0, rows: int = ROWS) -> Figures:
    """What so many kills come to, those of earlier commands into the folder included."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rows.jsonl"
    write_jsonl(source, (question(n) for n in range(rows)))
    figures = known(folder)
    with teacher(LATENCY) as url:
        subprocess.run(  # noqa: S603
            words(url, source, folder / "one"),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        while figures.kills.total() < most:
            draw = random.Random(f"{seed} {figures.runs}")
            one_run(url, folder, figures, draw, most)
            text = json.dumps(vars(figures))
            (folder / "figures.json").write_text(text)
            print(text, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/bench-ray"))
    options = parser.parse_args()
    figures = kills(options.output, options.kills, options.seed)
    print(json.dumps(vars(figures)))


if __name__ == "__main__":
    main()
