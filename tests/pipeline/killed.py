"""A run that is killed while it asks a loopback teacher, and the same command again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT, serving


def published(folder: Path) -> dict[str, bytes]:
    """The bytes of the rows that a run published."""
    return {
        name: (folder / name / "train-00000.parquet").read_bytes()
        for name in ("data", "dropped")
        if (folder / name / "train-00000.parquet").is_file()
    }


def command(pack: Path, rows: Path, output: Path, *more: str) -> list[str]:
    """`synth run` over a loopback teacher."""
    head = [sys.executable, "-m", "synth.cli", "run", str(pack)]
    teacher = ["--input", str(rows), "--output", str(output), "--same-teacher"]
    return [*head, *teacher, *more]


def asked_until_killed(
    answer, words: list[str], kill_at: int
) -> list[dict[str, object]]:
    """The bodies that a teacher is sent by a command that is killed by its request `kill_at`, which
    stays without an answer; 0 lets it end.
    """
    process: list[subprocess.Popen[bytes]] = []

    def answering(body, count):
        if count == kill_at:
            # The replies before this request are journaled by now.
            time.sleep(0.3)
            process[0].send_signal(signal.SIGKILL)
            process[0].wait()
        return answer(body, count)

    with serving(answering) as server:
        env = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "k",
        }
        process.append(
            subprocess.Popen(
                words,
                cwd=ROOT,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
        _, errors = process[0].communicate(timeout=60)
        code = process[0].returncode
        assert code == (-signal.SIGKILL if kill_at else 0), errors.decode()
        return list(server.bodies)
