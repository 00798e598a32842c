"""kill -9 at random moments of a run, then the same command: what is lost, what is asked twice,
what differs.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from examples.bench_server import asked, question, run_words, teacher
from synth.calls.journal import records
from synth.inputs.seeds import write_jsonl

ROWS, LATENCY, AT_ONCE = 2000, 0.05, 64


def words(url: str, source: Path, output: Path) -> list[str]:
    """The command line of the run."""
    return run_words(url, source, output, "--concurrency", str(AT_ONCE))


def published(folder: Path) -> dict[str, bytes]:
    """The bytes of a run's files, times and what tells a rerun from a run left out."""
    files = {
        str(p.relative_to(folder)): p.read_bytes()
        for kind in ("data", "dropped")
        for p in sorted((folder / kind).glob("*"))
    }
    info = json.loads((folder / "run.json").read_text())
    kept = {name: info[name] for name in ("pack", "settings", "counts", "cost")}
    return {
        **files,
        "failed.jsonl": (folder / "failed.jsonl").read_bytes(),
        "run.json": json.dumps(kept).encode(),
    }


def journaled(folder: Path) -> set[int]:
    """Numbers of the questions whose replies are in the journal."""
    path = folder / "journal"
    if not (path / "replies.log").exists():
        return set()
    found = (re.search(rb"\[(\d+)\]", raw) for _, raw in records(path))
    return {int(match[1]) for match in found if match}


def kills(folder: Path, times: int) -> None:
    """Prints what so many kills came to."""
    source = folder / "kills.jsonl"
    write_jsonl(source, (question(n) for n in range(ROWS)))
    rng = random.Random(0)
    lost = again = differing = most_repeated = 0
    moments = []
    with teacher(LATENCY) as url:
        started = time.monotonic()
        subprocess.run(  # noqa: S603
            words(url, source, folder / "whole"),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds, whole = time.monotonic() - started, published(folder / "whole")
        for _ in range(times):
            output = folder / "killed"
            shutil.rmtree(output, ignore_errors=True)
            asked(url, "forget")
            process = subprocess.Popen(  # noqa: S603
                words(url, source, output), stdout=subprocess.DEVNULL
            )
            time.sleep(rng.uniform(0.25, 1.0) * seconds)
            process.kill()
            process.wait()
            safe, before = journaled(output), asked(url)
            moments.append(len(safe))
            subprocess.run(  # noqa: S603
                words(url, source, output),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            after = asked(url)
            repeated = {n for n in before if after[n] > before[n]}
            lost += (
                len(safe - journaled(output)) + ROWS - len(journaled(output))
            )
            again += len(repeated & safe)
            most_repeated = max(most_repeated, len(repeated))
            differing += published(output) != whole
    print(
        f"{times} runs of {ROWS:,} rows, kill -9 at a random moment ({min(moments)} to "
        f"{max(moments)} replies journaled), run again"
    )
    print(
        f"  {lost} replies lost, {again} journaled ones asked again, {differing} outputs that "
        "differ from an undisturbed run's"
    )
    print(
        f"  at most {most_repeated} calls repeated, each asked and not yet journaled at the kill "
        f"({AT_ONCE} at a time)"
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        kills(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 50)
