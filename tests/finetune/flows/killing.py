"""`finetune` in forks of one process that has imported all it needs, ended by SIGKILL where a test wants it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# Importing torch, transformers and trl takes longer than a small flow: it is done once.
ZYGOTE = """
import json, os, sys
import torch, transformers, trl, peft, datasets
from finetune.cli import main
import finetune.recipes.sft, finetune.recipes.dpo, finetune.measuring.evaluate
import finetune.flows.player, finetune.generation.chat_worker, synth.pipeline.run
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if not pid:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2), os.close(0)
        try:
            main(asked["words"], standalone_mode=True)
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(0)
    print(json.dumps(pid), flush=True)
    print(json.dumps(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forks:
    """The process that forks; `start` begins a command, `ended` waits for it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.log = folder / "log.txt"

    def _read(self) -> Any:
        return json.loads(self.process.stdout.readline())

    def start(self, words: Sequence[object]) -> int:
        """The process id of a command."""
        asked = {"words": list(map(str, words)), "log": str(self.log)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self._read())

    def ended(self) -> int:
        """Waits for the command: 0, or how it ended."""
        status = int(self._read())
        return os.waitstatus_to_exitcode(status)

    def run(self, words: Sequence[object]) -> float:
        """Runs a command to its end, which must be a good one; the seconds that it took."""
        begun = time.monotonic()
        self.start(words)
        code = self.ended()
        assert code == 0, self.log.read_text()[-3000:]
        return time.monotonic() - begun

    def kill(
        self, words: Sequence[object], wait: Callable[[], bool], seconds: float
    ) -> bool:
        """Begins a command, and kills it so many seconds after something has come; whether it was still there.

        Args:
            words: of the command.
            wait: whether that has come.
            seconds: from then on.
        """
        pid = self.start(words)
        gone = False
        while not gone and not wait():
            time.sleep(0.002)
            gone = not _is_there(pid)
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return self.ended() == -signal.SIGKILL


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        made = Forks(process, folder)
        assert made._read() == "ready"
        yield made
    finally:
        process.stdin.close()
        process.wait(20)


def left(output: Path) -> dict[str, Any]:
    """What a flow made: rows byte by byte, weights, and what flow.json says without times and dollars."""
    found: dict[str, Any] = {}
    for pattern in ("*/*/*.jsonl", "*/*/data/*", "*/*/*.safetensors"):
        for path in sorted(output.glob(pattern)):
            found[str(path.relative_to(output))] = path.read_bytes()
    state = json.loads((output / "flow.json").read_text())
    for phase in (state["before"], *state["rounds"], state["after"]):
        for name, told in phase.items():
            facts = {
                k: told.get(k) for k in ("kept", "rows", "steps", "exact_match")
            }
            found[f"{told['folder']} {name}"] = facts
    found["ended"] = state["ended"]
    return found
