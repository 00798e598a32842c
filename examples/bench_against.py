"""CPU of this checkout beside that of an older one: `python -m examples.bench_against FOLDER`.

Each command runs in both checkouts in turn, in the same environment. The median is printed of the
ratios of its CPU seconds (user and system time of the process, imports included), a turn each: two
runs next to each other meet the same load of the machine. The older
checkout is made by `git worktree add FOLDER REVISION`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.bench_server import question, run_words, teacher
from synth.inputs.seeds import write_jsonl

HERE = Path(__file__).parent.parent
# Benchmarks of both checkouts, by name, as `python -m` takes them.
LOSSES = {
    name: (
        *("examples.bench_kd", "--way", way),
        *("--tokens", "256", "--beta", "0.5"),
    )
    for name, way in (
        ("losses at a vocabulary of 151,936", "ours"),
        ("losses across tokenizers", "uld"),
        ("a step of distillation", "our_step"),
    )
}
MINING = {"mining": ("examples.bench_mining",)}


def cpu(words: list[str], checkout: Path) -> float:
    """CPU seconds of a command that runs in a checkout."""
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    # Compiling every file anew in each process would be counted, too.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(  # noqa: S603 - our own words
        words, stdout=subprocess.DEVNULL, env=env, cwd=checkout
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words} ended with {status} in {checkout}")
    return usage.ru_utime + usage.ru_stime


@contextmanager
def runs(rows: int) -> Iterator[dict[str, list[str]]]:
    """Commands of `synth`, by name; OUTPUT stands for a folder of the run's own."""
    with tempfile.TemporaryDirectory() as name, teacher() as url:
        source = Path(name) / "rows.jsonl"
        write_jsonl(source, (question(number) for number in range(rows)))
        words = run_words(url, source, Path(f"{name}/OUTPUT"))
        plan = ["plan", "cot", "--input", str(source)]
        yield {
            f"a run of {rows:,} rows": words,
            "the same again, without a call": words,
            "synth plan": [
                *(sys.executable, "-m", "synth.cli", *plan),
                *("--teacher", "openai/gpt-4o-mini"),
            ],
            "synth --help": [sys.executable, "-m", "synth.cli", "--help"],
        }


def compare(
    name: str, words: list[str], older: Path, times: int
) -> tuple[float, float]:
    """(CPU seconds here, there), medians of so many turns."""
    seconds: dict[Path, list[float]] = {HERE: [], older: []}
    for turn in range(times):
        # The one that goes first changes from turn to turn.
        for checkout in [HERE, older][:: 1 if turn % 2 else -1]:
            output = f"{checkout.name}-{turn}"
            own = [word.replace("OUTPUT", output) for word in words]
            seconds[checkout].append(cpu(own, checkout))
    here, there = (statistics.median(values) for values in seconds.values())
    ratio = statistics.median(
        new / old for new, old in zip(*seconds.values(), strict=True)
    )
    print(
        f"{name}: {here:.2f} s, {there:.2f} s before: {ratio:.2f} times",
        flush=True,
    )
    return here, there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("older", type=Path, help="the older checkout")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--mining", action="store_true", help="minutes more")
    parser.add_argument(
        "--benches", action="store_true", help="losses and mining alone"
    )
    options = parser.parse_args()
    older = options.older.resolve()
    if not options.benches:
        with runs(options.rows) as commands:
            for name, words in commands.items():
                compare(name, words, older, options.times)
    benches = {**LOSSES, **(MINING if options.mining else {})}
    for name, module in benches.items():
        words = [sys.executable, "-m", *module]
        compare(name, words, older, options.times)


if __name__ == "__main__":
    main()
